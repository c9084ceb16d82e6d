// Runs a graph (.onnx) made by edgedet on a picture (binary PPM) and prints one JSON line per detection. It knows
// the detector from the model card in the file (docs/artifact-format.md). Exit status 2: a file it cannot honour.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>

using nlohmann::json;
using Shape = std::vector<int64_t>;
constexpr int64_t kMaxPixels = 1 << 28, kMaxSide = 1 << 14;

void require(bool holds, const std::string& otherwise) {
  if (!holds) throw std::runtime_error(otherwise);
}

struct Picture { int height, width; std::vector<uint8_t> bgr; };

Picture read_ppm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  int64_t width = 0, height = 0, white = 0;
  file >> magic >> width >> height >> white;
  require(file.get() != EOF && magic == "P6" && white == 255, path + ": expected a PPM (P6) of 8 bits");
  require(width > 0 && height > 0 && width <= kMaxPixels / height, path + ": impossible size");
  Picture picture{int(height), int(width), std::vector<uint8_t>(size_t(height * width * 3))};
  file.read(reinterpret_cast<char*>(picture.bgr.data()), std::streamsize(picture.bgr.size()));
  require(size_t(file.gcount()) == picture.bgr.size(), path + ": cut off");
  for (size_t i = 0; i < picture.bgr.size(); i += 3) std::swap(picture.bgr[i], picture.bgr[i + 2]);
  return picture;
}

// Where the picture lies on the canvas, and the canvas pixels per picture pixel by which boxes go back.
struct Placing { int height, width, left, top; double scale_y, scale_x; };

Placing place(const json& rule, int height, int width, int canvas_height, int canvas_width) {
  const std::string kind = rule.at("rule");
  const double fit_y = double(canvas_height) / height, fit_x = double(canvas_width) / width;
  if (kind == "stretch") return {canvas_height, canvas_width, 0, 0, fit_y, fit_x};
  require(kind == "letterbox" || kind == "shortest_side", "resize rule " + kind + " is not supported");
  if (kind == "shortest_side") {
    const double scale = std::min(rule.at("min_size").get<double>() / std::min(height, width),
                                  rule.at("max_size").get<double>() / std::max(height, width));
    const double h = std::max(std::floor(height * scale), 1.0), w = std::max(std::floor(width * scale), 1.0);
    if (h <= canvas_height && w <= canvas_width) return {int(h), int(w), 0, 0, h / height, w / width};
  }
  const bool nearest = rule.at("rounding") == "round", center = rule.at("place") == "center";
  const double scale = std::min({fit_y, fit_x, rule.at("enlarge").get<bool>() ? fit_y : 1.0});
  const auto side = [&](double x, int most) { return std::clamp(int(nearest ? std::rint(x) : x), 1, most); };
  const int h = side(height * scale, canvas_height), w = side(width * scale, canvas_width);
  const auto start = [&](int room) { return center ? int(std::rint(room / 2.0 - 0.1)) : 0; };
  const int left = start(canvas_width - w), top = start(canvas_height - h);
  if (kind == "letterbox" && !nearest) return {h, w, left, top, scale, scale};
  return {h, w, left, top, double(h) / height, double(w) / width};
}

struct Tap { int first, second; float weight; };  // two pixels of the picture, and the weight of the second

std::vector<Tap> taps(int source, int target) {
  std::vector<Tap> found;
  for (int i = 0; i < target; ++i) {
    const float at = float((i + 0.5) * (1.0 / (double(target) / source)) - 0.5), low = std::floor(at);
    found.push_back({std::clamp(int(low), 0, source - 1), std::clamp(int(low) + 1, 0, source - 1), at - low});
  }
  return found;
}

// The four nearest pixels, mixed: a and b of one row by u, c and d of the next by u, the rows by v.
void mix(float& out, float a, float b, float c, float d, float u, float v) {
  out = (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * c + u * d);
}
void mix(uint8_t& out, int a, int b, int c, int d, float u, float v) {  // as OpenCV does, bit for bit
  const auto fixed = [](float weight) { return int(std::rint(weight * 2048)); };
  const int upper = a * fixed(1 - u) + b * fixed(u), lower = c * fixed(1 - u) + d * fixed(u);
  out = uint8_t((((fixed(1 - v) * (upper >> 4)) >> 16) + ((fixed(v) * (lower >> 4)) >> 16) + 2) >> 2);
}

template <typename T>
std::vector<Ort::Value> run(Ort::Session& session, const char* name, const Shape& shape,
                            const std::array<double, 3>& pad, const Picture& picture, const Placing& at) {
  std::vector<T> canvas(size_t(shape[0] * shape[1] * shape[2] * 3));
  for (size_t i = 0; i < canvas.size(); ++i)
    canvas[i] = T(std::is_integral_v<T> ? std::rint(pad[i % 3]) : pad[i % 3]);
  const auto rows = taps(picture.height, at.height), columns = taps(picture.width, at.width);
  for (int y = 0; y < at.height; ++y) {
    const uint8_t* upper = &picture.bgr[size_t(rows[y].first) * picture.width * 3];
    const uint8_t* lower = &picture.bgr[size_t(rows[y].second) * picture.width * 3];
    T* out = &canvas[size_t((at.top + y) * shape[2] + at.left) * 3];
    for (const auto& [first, second, weight] : columns)
      for (int i = first * 3, j = second * 3, end = i + 3; i < end; ++i, ++j, ++out)
        mix(*out, upper[i], upper[j], lower[i], lower[j], weight, rows[y].weight);
  }
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto input = Ort::Value::CreateTensor<T>(memory, canvas.data(), canvas.size(), shape.data(), shape.size());
  const char* outputs[] = {"boxes", "scores", "labels", "count"};
  return session.Run(Ort::RunOptions{}, &name, &input, 1, outputs, 4);
}

template <typename T>
const T* values(const Ort::Value& tensor, const Shape& shape) {
  const auto info = tensor.GetTensorTypeAndShapeInfo();
  const bool fits = info.GetElementType() == Ort::TypeToTensorType<T>::type && info.GetShape() == shape;
  require(fits, "the graph's outputs are not what its card says");
  return tensor.GetTensorData<T>();
}

int main(int argc, char** argv) try {
  require(argc == 3, "usage: run_graph GRAPH.onnx PICTURE.ppm");
  const Ort::Env environment(ORT_LOGGING_LEVEL_FATAL);
  Ort::Session session(environment, argv[1], Ort::SessionOptions{});
  const Ort::AllocatorWithDefaultOptions allocator;
  const auto text = session.GetModelMetadata().LookupCustomMetadataMapAllocated("edgedet", allocator);
  require(text != nullptr, "the graph carries no model card");
  const json card = json::parse(text.get()), &input = card.at("input"), &resize = card.at("resize");
  const auto need = [](const json& stated, const json& known) {
    require(stated == known, "the card says " + stated.dump() + ", this program only knows " + known.dump());
  };
  need(card.at("version"), 1), need(card.at("output").at("format"), "detections");
  need(resize.at("antialias"), false);
  need(input.at("layout"), "NHWC"), need(input.at("colour"), "BGR"), need(input.at("normalise"), "graph");
  const Shape shape{input.at("batch"), input.at("height"), input.at("width"), 3};
  for (const int64_t side : shape) require(side > 0 && side <= kMaxSide, "the card states an impossible size");
  require(session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape() == shape, "not the input of the card");
  const Picture picture = read_ppm(argv[2]);
  const Placing at = place(resize, picture.height, picture.width, int(shape[1]), int(shape[2]));
  const std::string name = input.at("name"), dtype = input.at("dtype");
  const auto run_as = dtype == "uint8" ? run<uint8_t> : run<float>;  // ONNX Runtime refuses the wrong one
  const auto found = run_as(session, name.c_str(), shape, resize.at("pad"), picture, at);
  const int64_t n = shape[0], k = int64_t(found[1].GetTensorTypeAndShapeInfo().GetElementCount()) / n;
  const float *boxes = values<float>(found[0], {n, k, 4}), *scores = values<float>(found[1], {n, k});
  const int32_t *labels = values<int32_t>(found[2], {n, k}), count = *values<int32_t>(found[3], {n});
  require(count >= 0 && count <= k, "the graph counts more detections than it has room for");
  for (int i = 0, most = card.at("output").at("max_detections"); i < std::min(count, most); ++i, boxes += 4) {
    const auto x = [&](double v) { return std::clamp((v - at.left) / at.scale_x, 0.0, double(picture.width)); };
    const auto y = [&](double v) { return std::clamp((v - at.top) / at.scale_y, 0.0, double(picture.height)); };
    const double box[] = {x(boxes[0]), y(boxes[1]), x(boxes[2]), y(boxes[3])};
    if (!(box[2] > box[0] && box[3] > box[1])) continue;  // it lies wholly in the border
    std::cout << json{{"box", box}, {"score", std::clamp(scores[i], 0.f, 1.f)}, {"label", labels[i]},
                      {"name", card.at("names").at(size_t(labels[i]))}} << '\n';
  }
} catch (const std::exception& error) {
  std::cerr << "run_graph: " << error.what() << '\n';
  const auto* failure = dynamic_cast<const Ort::Exception*>(&error);
  return failure && failure->GetOrtErrorCode() == ORT_RUNTIME_EXCEPTION ? 1 : 2;
}
