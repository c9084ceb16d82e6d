// run_parser LIBRARY FUNCTION REQUEST: calls a parser as nvinfer does and prints its objects, one a line, exactly.
// REQUEST is text: width height; the thresholds, their number first; then layers: name type dims..., -1, file.
#include <dlfcn.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <list>
#include <string>

#include "nvdsinfer_custom_impl.h"

int main(int count, char** words) {
  void* library = count == 4 ? dlopen(words[1], RTLD_NOW) : nullptr;
  if (library == nullptr) return std::fprintf(stderr, "no library: %s\n", dlerror()), 3;
  const auto parse = reinterpret_cast<NvDsInferParseCustomFunc>(dlsym(library, words[2]));
  if (parse == nullptr) return std::fprintf(stderr, "no function %s\n", words[2]), 3;
  std::ifstream request(words[3]);
  NvDsInferNetworkInfo network{0, 0, 3};
  NvDsInferParseDetectionParams parameters{};
  request >> network.width >> network.height >> parameters.numClassesConfigured;
  for (unsigned i = 0; i < parameters.numClassesConfigured; ++i) {
    float threshold = 0;
    request >> threshold;
    parameters.perClassPreclusterThreshold.push_back(threshold);
  }
  std::list<std::string> names, contents;
  std::vector<NvDsInferLayerInfo> layers;
  std::string name, file;
  for (int type = 0, size = 0; request >> name >> type;) {
    NvDsInferLayerInfo layer{NvDsInferDataType(type), {}, int(layers.size()) + 1, names.emplace_back(name).c_str(), nullptr, 0};
    layer.inferDims.numElements = 1;
    while (request >> size && size >= 0) {
      layer.inferDims.d[layer.inferDims.numDims++] = unsigned(size);
      layer.inferDims.numElements *= unsigned(size);
    }
    request >> file;
    std::ifstream data(file, std::ios::binary);
    layer.buffer = contents.emplace_back(std::istreambuf_iterator<char>(data), std::istreambuf_iterator<char>()).data();
    layers.push_back(layer);
  }
  std::vector<NvDsInferObjectDetectionInfo> objects;
  if (!parse(layers, network, parameters, objects)) return 1;
  for (const auto& one : objects)
    std::printf("%u %a %a %a %a %a\n", one.classId, one.left, one.top, one.width, one.height, one.detectionConfidence);
}
