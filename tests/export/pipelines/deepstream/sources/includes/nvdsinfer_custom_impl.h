// A stand-in for DeepStream's header of this name, for compiling a parser without DeepStream: our own, from the API
// reference (docs.nvidia.com/metropolis/deepstream), with no more than parsers of detections use. The order of fields
// is that of the reference. STAND_IN_ROTATION: as versions from 9 have it.
#pragma once
#include <vector>

constexpr unsigned NVDSINFER_MAX_DIMS = 8;

struct NvDsInferDims {
  unsigned int numDims;
  unsigned int d[NVDSINFER_MAX_DIMS];
  unsigned int numElements;
};

enum NvDsInferDataType { FLOAT = 0, HALF = 1, INT8 = 2, INT32 = 3, INT64 = 4, UINT8 = 5 };

struct NvDsInferLayerInfo {
  NvDsInferDataType dataType;
  NvDsInferDims inferDims;
  int bindingIndex;
  const char* layerName;
  void* buffer;
  int isInput;
};

struct NvDsInferNetworkInfo {
  unsigned int width;
  unsigned int height;
  unsigned int channels;
};

struct NvDsInferObjectDetectionInfo {
  unsigned int classId;
  float left;
  float top;
  float width;
  float height;
  float detectionConfidence;
#ifdef STAND_IN_ROTATION
  float rotation_angle;
#endif
};

struct NvDsInferParseDetectionParams {
  unsigned int numClassesConfigured;
  std::vector<float> perClassPreclusterThreshold;
  std::vector<float> perClassPostclusterThreshold;
};

using NvDsInferParseCustomFunc = bool (*)(std::vector<NvDsInferLayerInfo> const&, NvDsInferNetworkInfo const&,
                                          NvDsInferParseDetectionParams const&,
                                          std::vector<NvDsInferObjectDetectionInfo>&);

// Fails to compile where the function has another type.
#define CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(name) \
  static_assert(static_cast<NvDsInferParseCustomFunc>(&name) != nullptr, #name " is no parser of detections")
