// Pixels, bit for bit: decoding, resizing, the operations of RandAugment.

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "data/augment/augment_op.h"
#include "data/augment/rand_augment.h"
#include "data/augment/resize.h"
#include "data/image/decode.h"
#include "data/image/image.h"
#include "tec/base/file.h"
#include "tec/base/sha256.h"
#include "tec/base/status.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/nn/normalize.h"
#include "tools/goldens/checks.h"
#include "tools/goldens/torch_item.h"

namespace tec {
namespace {

// Of the stored numbers' README.
constexpr double kNormalisedTolerance = 1e-6;

constexpr char kDecoded[] = "images/decoded.safetensors";

absl::string_view BytesOf(const Image& image) {
  return absl::string_view(reinterpret_cast<const char*>(image.data()), image.size_bytes());
}

TensorView ViewOf(const Image& image) {
  return TensorView::Copy(DType::kUint8, {image.height(), image.width(), 3}, BytesOf(image));
}

absl::StatusOr<Image> InputImage(GoldenTensors& file, const std::string& name) {
  TEC_ASSIGN_OR_RETURN(const TensorView view, file.Input(name, DType::kUint8, {-1, -1, 3}));
  Image image(static_cast<int>(view.shape[0]), static_cast<int>(view.shape[1]));
  std::memcpy(image.data(), view.bytes.data(), image.size_bytes());
  return image;
}

// The checksum of a case, and its pixels where they are stored whole, which then show where the difference is.
void CompareImage(GoldenItem& item, GoldenJson& index, const std::string& pointer, GoldenTensors* pixels,
                  const std::string& tensor, const Image& image) {
  item.CompareJson(index, pointer + "/sha256", Sha256(BytesOf(image)));
  if (pixels != nullptr && !tensor.empty()) item.Compare(*pixels, tensor, ViewOf(image), GoldenTolerance::Bits());
}

}  // namespace

absl::Status CheckImages(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenJson * index, item.Json("images/index.json"));
  item.Understood("images/system_libjpeg.json");  // What another library would do.
  GoldenTensors* pixels = nullptr;
  if (item.HasFile(kDecoded)) {
    TEC_ASSIGN_OR_RETURN(pixels, item.Tensors(kDecoded));
  }
  const nlohmann::json& files = (*index)["files"];
  Image image;  // One for all, as in the loader: nothing may remain of the file before.
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string name = files[i].at("file"), pointer = absl::StrCat("/files/", i);
    const absl::StatusOr<std::string> bytes = ReadFile(item.Path(absl::StrCat("images/", name)));
    if (!bytes.ok()) {
      item.Fail(name, std::string(bytes.status().message()));
      continue;
    }
    item.Group("files/*");
    const absl::Status decoded = DecodeImage(*bytes, &image);
    if (files[i].contains("error")) {
      item.Expect(name, !decoded.ok(), absl::StrCat("was decoded, but should be refused: ", files[i]["error"].dump()));
    } else if (!decoded.ok()) {
      item.Fail(name, std::string(decoded.message()));
    } else {
      CompareImage(item, *index, pointer, pixels, name, image);
    }
    item.Group("");
  }
  return absl::OkStatus();
}

absl::Status CheckResize(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenJson * index, item.Json(absl::StrCat(item.name(), ".json")));
  TEC_ASSIGN_OR_RETURN(GoldenTensors * inputs, item.Inputs(kDecoded));
  const std::string pixels_file = absl::StrCat(item.name(), ".safetensors");
  GoldenTensors* pixels = nullptr;
  std::array<float, 3> mean = kImageNetMean, std = kImageNetStd;
  if (item.HasFile(pixels_file)) {
    TEC_ASSIGN_OR_RETURN(pixels, item.Tensors(pixels_file));
    for (auto& [key, values] : {std::pair("mean", &mean), std::pair("std", &std)}) {
      if (!pixels->HasMetadata(key)) continue;
      TEC_ASSIGN_OR_RETURN(const nlohmann::json stored, pixels->Metadata(key));
      *values = stored.get<std::array<float, 3>>();
    }
  }
  const nlohmann::json& cases = (*index)["cases"];
  ResizeScratch scratch;  // One for all, as in the loader.
  for (size_t i = 0; i < cases.size(); ++i) {
    const nlohmann::json& one = cases[i];
    const std::string op = one.at("op"), pointer = absl::StrCat("/cases/", i);
    const int size = one.at("size");
    TEC_ASSIGN_OR_RETURN(const Image source, InputImage(*inputs, one.at("file")));
    if (size < 1 || (op != "resized_crop" && op != "eval")) {
      item.Fail(absl::StrCat("cases/", i), absl::StrCat("no such case: ", one.dump()));
      continue;
    }
    Image result(size, size);
    item.Group("cases/*");
    if (op == "resized_crop") {
      const nlohmann::json& b = one.at("box_ijhw");
      const Box box{b.at(0), b.at(1), b.at(2), b.at(3)};
      if (box.top < 0 || box.left < 0 || box.height < 1 || box.width < 1 || box.top + box.height > source.height() ||
          box.left + box.width > source.width()) {
        item.Fail(absl::StrCat("cases/", i), absl::StrCat("the box lies outside the image: ", one.dump()));
        continue;
      }
      ResizeBicubic(source, box, size, size, /*flip=*/false, &scratch, result.data());
    } else {
      EvalCrop(source, size, &scratch, result.data());
      const EvalGeometry geometry = EvalCropGeometry(source.height(), source.width(), size);
      item.CompareJson(*index, pointer + "/resized_hw", nlohmann::json({geometry.height, geometry.width}));
    }
    CompareImage(item, *index, pointer, pixels, one.value("tensor", ""), result);
    if (pixels != nullptr && one.contains("normalised")) {
      const at::Tensor batch = TensorOf(ViewOf(result)).unsqueeze(0);
      Compare(item, *pixels, one["normalised"], NormalizePixels(batch, mean, std)[0],
              GoldenTolerance::Absolute(kNormalisedTolerance));
    }
    item.Group("");
  }
  return absl::OkStatus();
}

absl::Status CheckRandAugment(GoldenItem& item) {
  TEC_ASSIGN_OR_RETURN(GoldenJson * index, item.Json(absl::StrCat(item.name(), ".json")));
  TEC_ASSIGN_OR_RETURN(GoldenTensors * pixels, item.Tensors(absl::StrCat(item.name(), ".safetensors")));

  const nlohmann::json& ops = (*index)["ops_in_order"];
  for (size_t i = 0; i < ops.size(); ++i) {
    const absl::StatusOr<AugmentOp> op = FindAugmentOp(ops[i].get<std::string>());
    item.Expect(absl::StrCat("ops_in_order/", i), op.ok() && static_cast<size_t>(*op) == i,
                op.ok() ? absl::StrCat(ops[i].dump(), " is number ", static_cast<int>(*op))
                        : std::string(op.status().message()));
  }

  // op -> magnitude -> [argument, argument if negated], each a list of none or one.
  const auto argument_of = [](const nlohmann::json& list) { return list.empty() ? 0 : list.at(0).get<double>(); };
  for (const auto& [name, magnitudes] : (*index)["arguments"].items()) {
    TEC_ASSIGN_OR_RETURN(const AugmentOp op, FindAugmentOp(name));
    for (const auto& [text, arguments] : magnitudes.items()) {
      double magnitude;
      if (!absl::SimpleAtod(text, &magnitude)) {
        item.Fail(absl::StrCat("arguments/", name), absl::StrCat("\"", text, "\" is no magnitude"));
        continue;
      }
      item.Group("arguments/*");
      for (const bool negate : {false, true}) {
        const std::string pointer = absl::StrCat("/arguments/", name, "/", text, "/", negate ? 1 : 0);
        const double argument = AugmentArgument(op, /*increasing=*/true, magnitude, negate);
        if (arguments.at(negate).empty()) {
          item.Expect(pointer.substr(1), argument == 0, absl::StrCat(argument, ", not none"));
        } else {
          item.CompareNumber(*index, pointer + "/0", argument, GoldenTolerance::Bits());
        }
      }
      item.Group("");
    }
  }

  AugmentStyle style;
  for (size_t c = 0; c < style.fill.size(); ++c) style.fill[c] = (*index)["fillcolor"].at(c);
  const nlohmann::json& cases = (*index)["cases"];
  AugmentScratch scratch;  // One for all, as in the loader.
  for (size_t i = 0; i < cases.size(); ++i) {
    const nlohmann::json& one = cases[i];
    TEC_ASSIGN_OR_RETURN(const AugmentOp op, FindAugmentOp(one.at("op").get<std::string>()));
    TEC_ASSIGN_OR_RETURN(Image image, InputImage(*pixels, absl::StrCat("in.", one.at("image").get<int64_t>())));
    const std::string interpolation = one.at("interpolation");
    if (interpolation != "bicubic" && interpolation != "bilinear") {
      item.Fail(absl::StrCat("cases/", i), absl::StrCat("unknown interpolation ", interpolation));
      continue;
    }
    style.interpolation = interpolation == "bicubic" ? Interpolation::kBicubic : Interpolation::kBilinear;
    item.Group(absl::StrCat("cases/* ", one["op"].get<std::string>(), " ", interpolation));
    ApplyAugmentOp(op, argument_of(one.at("args")), style, image.height(), image.width(), &scratch, image.data());
    CompareImage(item, *index, absl::StrCat("/cases/", i), pixels, one.value("tensor", ""), image);
    item.Group("");
  }
  return absl::OkStatus();
}

}  // namespace tec
