// Features of a small folder against the encoder run by hand; and what is read off a checkpoint.

#include "eval/features/features.h"

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "absl/strings/match.h"
#include "data/augment/resize.h"
#include "data/image/decode.h"
#include "data/image/encode.h"
#include "eval/features/pretrained.h"
#include "eval/testing/tiny.h"
#include "gtest/gtest.h"
#include "tec/base/file.h"
#include "tec/checkpoint/safetensors.h"
#include "tec/checkpoint/state_dict_file.h"
#include "tec/checkpoint/torch_tensors.h"
#include "tec/checkpoint/training_state.h"
#include "tec/nn/module_state.h"
#include "tec/testing/tensor_matchers.h"

namespace tec {
namespace {

using testing::TensorNear;

// Batches of another size are other matrix products: float32 rounding of values of order 1.
constexpr double kRounding = 1e-5;

std::shared_ptr<Encoder> TinyEncoder(const std::string& folder) {
  testing::WriteTecCheckpoint(folder + "/tec.pth", /*mlp_token=*/true);
  absl::StatusOr<Pretrained> pretrained = ReadPretrained(folder + "/tec.pth");
  EXPECT_TRUE(pretrained.ok()) << pretrained.status();
  absl::StatusOr<std::shared_ptr<Encoder>> encoder = MakeEncoder(*pretrained);
  EXPECT_TRUE(encoder.ok()) << encoder.status();
  return *encoder;
}

TEST(FeaturesTest, EveryReadableImageOnceInOrder) {
  const std::string folder = testing::FreshFolder("features");
  const std::shared_ptr<Encoder> encoder = TinyEncoder(folder);
  testing::WritePictures(folder + "/data", {"ant", "bee"}, 3, 1);
  ASSERT_TRUE(WriteFile(folder + "/data/ant/1.png", "no picture").ok());
  absl::StatusOr<std::unique_ptr<Dataset>> dataset = OpenDataset(folder + "/data", Split::kWhole);
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  const std::shared_ptr<const Dataset> shared = std::move(*dataset);

  FeatureOptions options;
  options.batch_size = 4;
  options.max_bad_fraction = 1;
  int64_t seen = 0;
  options.progress = [&seen](int64_t done, int64_t total) {
    seen = done;
    EXPECT_EQ(total, 6);
  };
  for (const FeatureSpec& spec : {kClsFeatures, kPoolFeatures}) {
    options.spec = spec;
    absl::StatusOr<Features> features = ExtractFeatures(*encoder, shared, options);
    ASSERT_TRUE(features.ok()) << features.status();
    EXPECT_EQ(seen, 6);
    EXPECT_EQ(features->unreadable, 1);
    EXPECT_TRUE(at::equal(features->labels, at::tensor(std::vector<int64_t>{0, 0, 1, 1, 1}, at::kLong)));
    ASSERT_EQ(features->values.size(0), 5);
    // Row 1 is ant/2.png, of the model's own size: its pixels as they are.
    absl::StatusOr<std::string> bytes = ReadFile(folder + "/data/ant/2.png");
    ASSERT_TRUE(bytes.ok());
    absl::StatusOr<Image> image = DecodeImage(*bytes);
    ASSERT_TRUE(image.ok());
    at::NoGradGuard no_gradient;
    const at::Tensor pixels = at::from_blob(image->data(), {1, image->height(), image->width(), 3}, at::kByte);
    const EncoderFeatures direct = encoder->forward(NormalizePixels(pixels, kImageNetMean, kImageNetStd));
    EXPECT_TRUE(TensorNear(features->values[1], (spec == kClsFeatures ? direct.cls : direct.patch_mean)[0], kRounding));
  }

  // Listed by whoever asks for it.
  options.bad_images_path = folder + "/bad.txt";
  ASSERT_TRUE(ExtractFeatures(*encoder, shared, options).ok());
  EXPECT_EQ(*ReadFile(options.bad_images_path), "ant/1.png\tnot an image: no known format by its first bytes\n");

  // Handed over batch by batch, the same rows come out.
  const absl::StatusOr<Features> whole = ExtractFeatures(*encoder, shared, options);
  ASSERT_TRUE(whole.ok()) << whole.status();
  std::vector<at::Tensor> values, labels;
  int64_t images = 0;
  options.sink = [&](const at::Tensor& batch_values, const at::Tensor& batch_labels, int64_t batch_images) {
    images += batch_images;
    values.push_back(batch_values.clone());
    labels.push_back(batch_labels.clone());
    return absl::OkStatus();
  };
  const absl::StatusOr<Features> handed = ExtractFeatures(*encoder, shared, options);
  ASSERT_TRUE(handed.ok()) << handed.status();
  EXPECT_FALSE(handed->values.defined());
  EXPECT_EQ(handed->unreadable, 1);
  EXPECT_EQ(images, 6);
  ASSERT_EQ(values.size(), 2u);
  EXPECT_TRUE(at::equal(at::cat(values), whole->values));
  EXPECT_TRUE(at::equal(at::cat(labels), whole->labels));
  // From the second batch on.
  values.clear();
  options.first_image = 4;
  ASSERT_TRUE(ExtractFeatures(*encoder, shared, options).ok());
  EXPECT_TRUE(at::equal(at::cat(values), whole->values.narrow(0, 3, 2)));
  options.first_image = 0;
  options.sink = [](const at::Tensor&, const at::Tensor&, int64_t) { return absl::DataLossError("full"); };
  EXPECT_EQ(ExtractFeatures(*encoder, shared, options).status().message(), "full");
  options.sink = nullptr;

  options.stop = [] { return true; };
  EXPECT_EQ(ExtractFeatures(*encoder, shared, options).status().code(), absl::StatusCode::kCancelled);
}

// Only what the crop needs is decoded, and gives the pixels of the whole image.
TEST(FeatureTransformTest, APartOfTheImageGivesThePixelsOfTheWhole) {
  constexpr int kSize = 16;
  const FeatureTransform transform(kSize);
  TransformScratch scratch, whole_scratch;
  for (const auto& [height, width] : {std::pair(16, 16), std::pair(16, 17), std::pair(18, 18), std::pair(40, 23),
                                      std::pair(120, 300), std::pair(301, 77)}) {
    Image image(height, width);
    for (size_t i = 0; i < image.size_bytes(); ++i) image.data()[i] = static_cast<uint8_t>(i * i / 97 + i % 3 * 60);
    const absl::StatusOr<std::string> jpeg = EncodeJpeg(image);
    ASSERT_TRUE(jpeg.ok()) << jpeg.status();
    std::vector<uint8_t> got(kSize * kSize * 3), expected(kSize * kSize * 3);
    ASSERT_TRUE(transform.Apply(*jpeg, SampleKey(), &scratch, got.data()).ok());
    const absl::StatusOr<Image> whole = DecodeImage(*jpeg);
    ASSERT_TRUE(whole.ok()) << whole.status();
    if (height == kSize && width == kSize) {
      std::memcpy(expected.data(), whole->data(), whole->size_bytes());
    } else {
      EvalCrop(*whole, kSize, &whole_scratch.resize, expected.data());
    }
    EXPECT_TRUE(got == expected) << height << " x " << width;
    if (width == 300) {
      EXPECT_LT(scratch.decoded.pixels.width(), 200);
    }
  }
}

TEST(FeatureSpecTest, NamesAndColumns) {
  for (const std::string name : {"cls", "cls4", "pool", "cls+pool", "cls4+pool", "global_pool"}) {
    absl::StatusOr<FeatureSpec> spec = ParseFeatureSpec(name);
    ASSERT_TRUE(spec.ok()) << spec.status();
    EXPECT_EQ(NameOf(*spec), name);
  }
  for (const char* name : {"", "cls0", "cls-1", "mean", "cls+", "cls4pool", "+pool"}) {
    EXPECT_EQ(ParseFeatureSpec(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
  }
  EXPECT_FALSE(UnionOf({kPoolFeatures, kGlobalPoolFeatures}).ok());
}

// Each part of a union is what the part alone would be.
TEST(FeatureSpecTest, ComputesWhatTheNamesSay) {
  const std::string folder = testing::FreshFolder("specs");
  const std::shared_ptr<Encoder> encoder = TinyEncoder(folder);
  at::NoGradGuard no_gradient;
  const at::Tensor images = at::arange(2 * 3 * 16 * 16, at::kFloat).mul(0.37).cos().view({2, 3, 16, 16});
  const std::vector<at::Tensor> blocks = encoder->LastBlocks(images, 3);
  const int64_t width = encoder->options().width;
  const FeatureSpec cls2_pool = *ParseFeatureSpec("cls2+pool");
  absl::StatusOr<FeatureSpec> whole = UnionOf({kClsFeatures, cls2_pool, *ParseFeatureSpec("cls3")});
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(NameOf(*whole), "cls3+pool");
  const at::Tensor all = ComputeFeatures(*encoder, images, *whole);
  EXPECT_EQ(all.sizes(), at::IntArrayRef({2, 4 * width}));
  const EncoderFeatures direct = encoder->forward(images);
  const at::Tensor second = encoder->Normalise(blocks[1]).select(1, 0);
  const auto part = [&](const FeatureSpec& spec) {
    const auto [first, columns] = ColumnsOf(spec, *whole, width);
    return all.narrow(1, first, columns);
  };
  EXPECT_TRUE(TensorNear(part(kClsFeatures), direct.cls, kRounding));
  EXPECT_TRUE(TensorNear(part(cls2_pool), at::cat({second, direct.cls, direct.patch_mean}, 1), kRounding));
  EXPECT_TRUE(TensorNear(part(kPoolFeatures), direct.patch_mean, kRounding));
  // MAE's global pool: mean, then (x - mean) / sqrt(variance + 1e-6) over the channels.
  const at::Tensor mean = blocks[2].slice(1, 1).mean(1);
  const at::Tensor centred = mean - mean.mean(1, /*keepdim=*/true);
  EXPECT_TRUE(TensorNear(ComputeFeatures(*encoder, images, kGlobalPoolFeatures),
                         centred / (centred.square().mean(1, true) + 1e-6).sqrt(), kRounding));
}

VitRequest WithHeads(int64_t heads) {
  VitRequest request;
  request.heads = heads;
  return request;
}

TEST(PretrainedTest, ReadsTheRecordedRun) {
  const std::string folder = testing::FreshFolder("recorded");
  testing::WriteTecCheckpoint(folder + "/tec.pth", /*mlp_token=*/true);
  testing::WriteMaeCheckpoint(folder + "/mae.pth");
  for (const std::string name : {"tec", "mae"}) {
    absl::StatusOr<Pretrained> pretrained = ReadPretrained(folder + "/" + name + ".pth");
    ASSERT_TRUE(pretrained.ok()) << pretrained.status();
    EXPECT_TRUE(pretrained->recorded);
    EXPECT_EQ(pretrained->mlp_token, name == "tec");
    EXPECT_EQ(pretrained->description,
              name + " checkpoint after epoch 0, ViT 16 px, patch 4, width 16, depth 3, heads 2");
    EXPECT_TRUE(MakeEncoder(*pretrained).ok());
  }
}

TEST(PretrainedTest, ReadsOtherFamilies) {
  const std::string folder = testing::FreshFolder("families");
  testing::WriteConvertedEncoder(folder + "/plain.safetensors");
  absl::StatusOr<StateDictFile> file = ReadStateDict(folder + "/plain.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  StateDict renamed;
  for (const auto& [name, tensor] : file->tensors) {
    ASSERT_TRUE(renamed.Add("module.base_encoder." + name, tensor).ok());
  }
  for (const char* name : {"norm.weight", "norm.bias"}) {
    ASSERT_TRUE(renamed
                    .Add(std::string("module.base_encoder.") + name,
                         TensorView::FromFloats({16}, std::vector<float>(16, name[5] == 'w' ? 1 : 0)))
                    .ok());
  }
  ASSERT_TRUE(WriteSafetensors(folder + "/moco.safetensors", renamed).ok());
  const absl::StatusOr<Pretrained> plain = ReadPretrained(folder + "/plain.safetensors", WithHeads(2));
  const absl::StatusOr<Pretrained> moco = ReadPretrained(folder + "/moco.safetensors", WithHeads(2));
  ASSERT_TRUE(plain.ok()) << plain.status();
  ASSERT_TRUE(moco.ok()) << moco.status();
  EXPECT_EQ(
      moco->description,
      "safetensors of family moco_v3, ViT 16 px, patch 4, width 16, depth 3, heads 2 (assumed: a square grid of 4 x 4 "
      "patches, GELU, norms with epsilon 1e-06)");
  const absl::StatusOr<std::shared_ptr<Encoder>> a = MakeEncoder(*plain), b = MakeEncoder(*moco);
  ASSERT_TRUE(a.ok()) << a.status();
  ASSERT_TRUE(b.ok()) << b.status();
  const at::Tensor images = at::arange(3 * 16 * 16, at::kFloat).mul(0.37).cos().view({1, 3, 16, 16});
  EXPECT_TRUE(at::equal((*a)->forward(images).cls, (*b)->forward(images).cls));
}

// The encoder of WriteConvertedEncoder under other names and in other forms of the same function: its features are the
// same. With HuggingFace's names q, k and v are apart; a LayerScale of 1/2 undoes a doubling of what it scales.
class OtherFormTest : public ::testing::Test {
 protected:
  static constexpr int64_t kWidth = 16, kHeads = 2;

  void SetUp() override {
    testing::WriteConvertedEncoder(folder_ + "/plain.safetensors");
    absl::StatusOr<StateDictFile> file = ReadStateDict(folder_ + "/plain.safetensors");
    ASSERT_TRUE(file.ok()) << file.status();
    for (const auto& [name, tensor] : file->tensors) state_.emplace_back(name, TensorOf(tensor));
    state_.emplace_back("norm.weight", at::ones({kWidth}));
    state_.emplace_back("norm.bias", at::zeros({kWidth}));
  }

  std::string Write(const std::string& name, const std::vector<std::pair<std::string, at::Tensor>>& state) {
    const std::string path = folder_ + "/" + name + ".safetensors";
    EXPECT_TRUE(WriteSafetensors(path, ViewsOf(state)).ok());
    return path;
  }

  // norm_epsilon: of another one than the file's family has; 0: its own.
  at::Tensor FeaturesOf(const std::string& path, const FeatureSpec& spec, const std::string& description,
                        double norm_epsilon = 0) {
    absl::StatusOr<Pretrained> pretrained = ReadPretrained(path, WithHeads(kHeads));
    EXPECT_TRUE(pretrained.ok()) << pretrained.status();
    if (!pretrained.ok()) return {};
    EXPECT_NE(pretrained->description.find(description), std::string::npos) << pretrained->description;
    if (norm_epsilon != 0) pretrained->encoder.variant.norm_epsilon = norm_epsilon;
    const absl::StatusOr<std::shared_ptr<Encoder>> encoder = MakeEncoder(*pretrained);
    EXPECT_TRUE(encoder.ok()) << encoder.status();
    at::NoGradGuard no_grad;
    return encoder.ok() ? ComputeFeatures(**encoder, images_, spec) : at::Tensor();
  }

  const std::string folder_ = testing::FreshFolder("other_form");
  std::vector<std::pair<std::string, at::Tensor>> state_;
  const at::Tensor images_ = at::arange(3 * 16 * 16, at::kFloat).mul(0.37).cos().view({1, 3, 16, 16});
  const FeatureSpec both_ = {1, FeatureSpec::PatchMean::kAfterNorm};
};

TEST_F(OtherFormTest, LayerScale) {
  const at::Tensor expected = FeaturesOf(folder_ + "/plain.safetensors", both_, "safetensors of family timm, ViT");
  std::vector<std::pair<std::string, at::Tensor>> scaled;
  for (const auto& [name, tensor] : state_) {
    const bool first = name.find("attn.proj.") != std::string::npos;
    const bool second = name.find("mlp.fc2.") != std::string::npos;
    scaled.emplace_back(name, first || second ? tensor * 2 : tensor);
    if (name.find("norm1.weight") != std::string::npos) {
      const std::string block = name.substr(0, name.find("norm1"));
      for (const char* gamma : {"ls1.gamma", "ls2.gamma"}) scaled.emplace_back(block + gamma, at::full({kWidth}, 0.5));
    }
  }
  const std::string timm = Write("timm", scaled);
  EXPECT_TRUE(at::equal(FeaturesOf(timm, both_, "of family timm"), expected));
  // The first finetuning step starts from it.
  FinetuneModel model({ReadPretrained(timm, WithHeads(kHeads))->encoder, /*classes=*/3});
  EXPECT_TRUE(LoadPretrained(model, ReadPretrained(timm, WithHeads(kHeads))->state, 1).ok());

  scaled.emplace_back("mask_token", at::zeros({1, kWidth}));
  EXPECT_TRUE(at::equal(FeaturesOf(Write("dinov2", scaled), both_, "of family dinov2"), expected));
}

TEST_F(OtherFormTest, HuggingFace) {
  // Their layer norms add 1e-12 to the variance, ours 1e-6: that shows in an untrained model's small tokens.
  const at::Tensor expected =
      FeaturesOf(folder_ + "/plain.safetensors", both_, "safetensors of family timm, ViT", 1e-12);
  const std::pair<const char*, const char*> renamed[] = {
      {"cls_token", "embeddings.cls_token"},
      {"pos_embed", "embeddings.position_embeddings"},
      {"patch_embed.proj", "embeddings.patch_embeddings.projection"},
      {"blocks.", "encoder.layer."},
      {"norm1", "layernorm_before"},
      {"norm2", "layernorm_after"},
      {"attn.proj", "attention.output.dense"},
      {"mlp.fc1", "intermediate.dense"},
      {"mlp.fc2", "output.dense"},
  };
  std::vector<std::pair<std::string, at::Tensor>> theirs;
  for (const auto& [name, tensor] : state_) {
    std::string other = name;
    for (const auto& [from, to] : renamed) {
      if (const size_t at = other.find(from); at != std::string::npos) other.replace(at, strlen(from), to);
    }
    if (absl::StartsWith(name, "norm.")) other = "layernorm." + name.substr(5);
    if (const size_t at = other.find("attn.qkv."); at != std::string::npos) {
      const std::vector<at::Tensor> parts = tensor.chunk(3);
      const char* names[] = {"query", "key", "value"};
      for (int i = 0; i < 3; ++i) {
        theirs.emplace_back(other.substr(0, at) + "attention.attention." + names[i] + other.substr(at + 8), parts[i]);
      }
    } else {
      theirs.emplace_back(other, tensor);
    }
  }
  const std::string path = Write("hf", theirs);
  EXPECT_TRUE(at::equal(FeaturesOf(path, both_, "of family hf_vit"), expected));

  // Finetuning starts from the same features, with the file's epsilon in all norms.
  const absl::StatusOr<Pretrained> pretrained = ReadPretrained(path, WithHeads(kHeads));
  FinetuneOptions options;
  options.encoder = pretrained->encoder;
  options.classes = 3;
  options.global_pool = false;
  FinetuneModel model(options);
  ASSERT_TRUE(LoadPretrained(model, pretrained->state, 1).ok());
  at::NoGradGuard no_grad;
  EXPECT_TRUE(at::equal(model.Pool(images_), expected.narrow(1, 0, kWidth)));
  // Its checkpoint says so to whoever reads it.
  TrainingState state;
  state.model = ViewsOf(NamedState(model));
  state.method = "finetune";
  state.experiment = R"(
    model: "custom" encoder { image_size: 16 patch_size: 4 width: 16 depth: 3 heads: 2 } global_pool: false
    norm_epsilon: 1e-12)";
  ASSERT_TRUE(SaveTrainingState(folder_ + "/finetuned.pth", state).ok());
  EXPECT_TRUE(at::equal(FeaturesOf(folder_ + "/finetuned.pth", both_, "finetune checkpoint"), expected));
}

TEST_F(OtherFormTest, RegistersAreNoPatches) {
  std::vector<std::pair<std::string, at::Tensor>> with = state_;
  with.emplace_back("reg_token", at::arange(2 * kWidth, at::kFloat).cos().view({1, 2, kWidth}));
  for (auto& [name, tensor] : with) {
    if (name == "pos_embed") tensor = tensor.slice(1, 1);
  }
  const std::string path = Write("registers", with);
  // 16 rows: 4 x 4 patches, or 3 x 5 and [CLS].
  VitRequest request = WithHeads(kHeads);
  const absl::Status untold = ReadPretrained(path, request).status();
  EXPECT_EQ(untold.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(untold.message().find("--grid=4x4"), absl::string_view::npos) << untold;
  request.grid_rows = request.grid_columns = 4;
  const absl::StatusOr<Pretrained> pretrained = ReadPretrained(path, request);
  ASSERT_TRUE(pretrained.ok()) << pretrained.status();
  const absl::StatusOr<std::shared_ptr<Encoder>> encoder = MakeEncoder(*pretrained);
  ASSERT_TRUE(encoder.ok()) << encoder.status();
  at::NoGradGuard no_grad;
  EXPECT_TRUE(TensorNear(ComputeFeatures(**encoder, images_, kPoolFeatures), (*encoder)->forward(images_).patch_mean,
                         kRounding));
}

TEST(PretrainedTest, ReadsTheShapeOffTheTensors) {
  const std::string folder = testing::FreshFolder("unrecorded");
  testing::WriteMaeCheckpoint(folder + "/mae.pth");
  absl::StatusOr<StateDictFile> file = ReadStateDict(folder + "/mae.pth");
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE(WriteSafetensors(folder + "/mae.safetensors", file->tensors).ok());
  // Width 16 is none of the named sizes': the heads must be told.
  const absl::Status untold = ReadPretrained(folder + "/mae.safetensors").status();
  EXPECT_EQ(untold.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(untold.message().find("--heads"), absl::string_view::npos) << untold;
  absl::StatusOr<Pretrained> told = ReadPretrained(folder + "/mae.safetensors", WithHeads(2));
  ASSERT_TRUE(told.ok()) << told.status();
  EXPECT_FALSE(told->recorded);
  EXPECT_EQ(told->description,
            "safetensors of family mae, ViT 16 px, patch 4, width 16, depth 3, heads 2 (assumed: a square grid of 4 x "
            "4 patches, GELU, norms with epsilon 1e-06)");
  EXPECT_TRUE(MakeEncoder(*told).ok());

  StateDict other;
  ASSERT_TRUE(other.Add("weight", TensorView::FromFloats({1}, {1})).ok());
  ASSERT_TRUE(WriteSafetensors(folder + "/other.safetensors", other).ok());
  const absl::Status none = ReadPretrained(folder + "/other.safetensors").status();
  EXPECT_NE(none.message().find("no vision transformer of a known family"), absl::string_view::npos) << none;
}

}  // namespace
}  // namespace tec
