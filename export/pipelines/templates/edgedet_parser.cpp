// Turns the outputs of the graph beside this file into nvinfer's objects: thresholds, classes and NMS as the model
// card has them (edgedet_card.h is written from it), so that the boxes are those of edgedet's Detector.
//
// NMS happens here, and cluster-mode is 4 (none): nvinfer's own knows no limit over all classes, and compares boxes
// by left + width, which rounds. What it must not know is the frame's size: nvinfer takes boxes back to the frame.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <vector>

#include "edgedet_card.h"
#include "nvdsinfer_custom_impl.h"

namespace {

struct Candidate { float box[4]; float score; int label; };  // x1, y1, x2, y2 in pixels of the canvas

bool refuse(const char* what) {
  std::fprintf(stderr, "edgedet: %s; this parser is for the graph it was written with\n", what);
  return false;
}

const NvDsInferLayerInfo* find(const std::vector<NvDsInferLayerInfo>& layers, const char* name, NvDsInferDataType type,
                               std::vector<unsigned> shape) {
  for (const auto& layer : layers) {
    if (std::strcmp(layer.layerName, name) != 0) continue;
    const NvDsInferDims& dims = layer.inferDims;
    const bool fits = layer.dataType == type && layer.buffer != nullptr && dims.numDims == shape.size() &&
                      std::equal(shape.begin(), shape.end(), dims.d);
    return fits ? &layer : nullptr;
  }
  return nullptr;
}

// Pairs of box and class above their thresholds, in the order of the tensor: by box, then class.
void collect(const float* boxes, const float* scores, const std::vector<float>& thresholds,
             std::vector<Candidate>& found) {
  const auto add = [&](int row, float score, int label) {
    Candidate one{{}, score, label};
    std::copy_n(boxes + std::size_t(row) * 4, 4, one.box);
    found.push_back(one);
  };
  for (int row = 0; row < card::kRows; ++row) {
    const float* of_row = scores + std::size_t(row) * card::kScores;
    if (card::kBoxPerClass) {
      const int label = row % card::kClasses;
      if (of_row[0] > thresholds[label]) add(row, of_row[0], label);
    } else if (card::kBestClassOnly) {
      if (std::any_of(of_row, of_row + card::kScores, [](float score) { return std::isnan(score); })) continue;
      const int label = int(std::max_element(of_row, of_row + card::kScores) - of_row);
      if (of_row[label] > thresholds[label]) add(row, of_row[label], label);
    } else {
      for (int label = 0; label < card::kScores; ++label)
        if (of_row[label] > thresholds[label]) add(row, of_row[label], label);
    }
  }
}

// Indices, best first; equal scores by their place.
std::vector<int> ranked(const std::vector<Candidate>& all) {
  std::vector<int> order(all.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return all[a].score > all[b].score; });
  return order;
}

void keep_best_of_each_class(std::vector<Candidate>& all) {
  if (card::kCandidatesPerClass == 0 || all.size() <= std::size_t(card::kCandidatesPerClass)) return;
  std::vector<int> taken(card::kClasses, 0);
  std::vector<char> kept(all.size(), 0);
  for (int index : ranked(all)) kept[index] = ++taken[all[index].label] <= card::kCandidatesPerClass;
  std::size_t end = 0;
  for (std::size_t i = 0; i < all.size(); ++i)
    if (kept[i]) all[end++] = all[i];
  all.resize(end);
}

// In single precision and in this order, as everywhere in edgedet: ties at the threshold fall alike.
bool overlap(const float* a, const float* b) {
  const float area_a = (a[2] - a[0]) * (a[3] - a[1]), area_b = (b[2] - b[0]) * (b[3] - b[1]);
  const float width = std::max(std::min(a[2], b[2]) - std::max(a[0], b[0]), 0.0f);
  const float height = std::max(std::min(a[3], b[3]) - std::max(a[1], b[1]), 0.0f);
  const float shared = width * height;
  return shared / (area_a + area_b - shared) > card::kIouThreshold;
}

std::vector<Candidate> suppress(std::vector<Candidate> all) {
  const auto unusable = [](const Candidate& one) {
    const float width = one.box[2] - one.box[0], height = one.box[3] - one.box[1];
    return card::kMinBoxSide > 0 && !(std::min(width, height) >= card::kMinBoxSide);
  };
  all.erase(std::remove_if(all.begin(), all.end(), unusable), all.end());
  keep_best_of_each_class(all);
  const auto endless = [](const Candidate& one) {
    return !std::isfinite(one.score) ||
           !std::all_of(one.box, one.box + 4, [](float side) { return std::isfinite(side); });
  };
  all.erase(std::remove_if(all.begin(), all.end(), endless), all.end());
  std::vector<Candidate> kept, moved;
  for (int index : ranked(all)) {
    if (kept.size() == std::size_t(card::kMaxDetections)) break;
    Candidate apart = all[index];
    for (float& side : apart.box) side += float(card::kClassStep * apart.label);
    const bool hidden = std::any_of(moved.begin(), moved.end(), [&](const Candidate& better) {
      return better.label == apart.label && overlap(better.box, apart.box);
    });
    if (hidden) continue;
    kept.push_back(all[index]);
    moved.push_back(apart);
  }
  return kept;
}

// What lies outside the picture's place on the canvas is cut off, as Detector does at the frame's edge.
void put(const Candidate& one, std::vector<NvDsInferObjectDetectionInfo>& objects) {
  const float left = std::clamp(one.box[0], card::kLeft, card::kRight);
  const float right = std::clamp(one.box[2], card::kLeft, card::kRight);
  const float top = std::clamp(one.box[1], card::kTop, card::kBottom);
  const float bottom = std::clamp(one.box[3], card::kTop, card::kBottom);
  if (!(right > left && bottom > top)) return;
  NvDsInferObjectDetectionInfo object{};  // newer versions have a rotation, which must be 0
  object.classId = unsigned(one.label);
  object.left = left;
  object.top = top;
  object.width = right - left;
  object.height = bottom - top;
  object.detectionConfidence = std::clamp(one.score, 0.0f, 1.0f);
  objects.push_back(object);
}

}  // namespace

extern "C" bool NvDsInferParseCustomEdgedet(std::vector<NvDsInferLayerInfo> const& layers,
                                            NvDsInferNetworkInfo const& network,
                                            NvDsInferParseDetectionParams const& parameters,
                                            std::vector<NvDsInferObjectDetectionInfo>& objects) {
  if (network.width != card::kWidth || network.height != card::kHeight)
    return refuse("the network's input has another size than the card says");
  if (parameters.numClassesConfigured != unsigned(card::kClasses) ||
      parameters.perClassPreclusterThreshold.size() < std::size_t(card::kClasses))
    return refuse("num-detected-classes is not the card's");
  const auto& thresholds = parameters.perClassPreclusterThreshold;
  const unsigned rows = card::kRows;
  const auto* boxes = find(layers, "boxes", FLOAT, {rows, 4});
  if (boxes == nullptr) return refuse("there is no output boxes of the right type and shape");
  const auto* box = static_cast<const float*>(boxes->buffer);
  if (card::kScores == 0) {  // the graph has made its choice: best first, the rows behind it zero
    const auto* scores = find(layers, "scores", FLOAT, {rows});
    const auto* labels = find(layers, "labels", INT32, {rows});
    if (scores == nullptr || labels == nullptr) return refuse("there are no outputs scores and labels that fit");
    const auto* score = static_cast<const float*>(scores->buffer);
    const auto* label = static_cast<const std::int32_t*>(labels->buffer);
    for (unsigned row = 0, kept = 0; row < rows && kept < unsigned(card::kMaxDetections); ++row) {
      if (!(score[row] > card::kScoreThreshold)) continue;
      if (label[row] < 0 || label[row] >= card::kClasses) return refuse("the network gave an unknown class");
      ++kept;
      if (!(score[row] > thresholds[label[row]])) continue;
      Candidate one{{}, score[row], label[row]};
      std::copy_n(box + std::size_t(row) * 4, 4, one.box);
      put(one, objects);
    }
    return true;
  }
  const auto* scores = find(layers, "scores", FLOAT, {rows, unsigned(card::kScores)});
  if (scores == nullptr) return refuse("there is no output scores of the right type and shape");
  std::vector<Candidate> found;
  collect(box, static_cast<const float*>(scores->buffer), thresholds, found);
  for (const Candidate& one : suppress(std::move(found))) put(one, objects);
  return true;
}

CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(NvDsInferParseCustomEdgedet);
