// The matrix products and attention of one training step on the CPU, alone: what no way of arranging the rest can go
// below with LibTorch's products.
//
//   ./bazelw run //benchmarks/train:products
//   ./bazelw run //benchmarks/train:products -- --benchmark_filter=vit_b16
//
// The step is run once under the counter of //benchmarks/train:traffic, which says what each product got: sizes, types
// and how it lay. Each one is then given made-up operands of that kind and every form that LibTorch has for it: as the
// step does it, with its operands lying the other way round, transposed as a whole, and in float32 also oneDNN's, with
// the weights of a layer as they are and in oneDNN's own order; where the processor has no instructions for bfloat16,
// of operands that are float32 already, too; attention as the fused function and as the bare products without a
// softmax. The quickest form counts, in the order of the step, with nothing between. So the limit of a comparison is
// the rival's time divided by this one. The tiny cases are for trying the program.
//
// Time and CPU: of the products. Counters: step_ms the whole step, measured before and after and averaged, and
// step_cpu_ms its time on all processors, which other programs on the machine disturb less; of_step and of_step_cpu
// the products' share; as_is_ms the products in the form of the step; products_GFLOP/s.

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ATen/ATen.h"
#include "ATen/core/dispatch/Dispatcher.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "benchmark/benchmark.h"
#include "benchmarks/eval/finetuning_step.h"
#include "benchmarks/train/operation_counter.h"
#include "benchmarks/train/pretraining_step.h"
#include "tec/base/logging.h"
#include "tec/nn/head_product.h"
#include "tec/nn/low_linear.h"
#include "tec/nn/product.h"
#include "tec/run/rank_runtime.h"

namespace tec {
namespace {

using Form = std::function<void()>;

double SecondsOf(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec + 1e-9 * now.tv_nsec;
}

struct Times {
  double wall = 0, cpu = 0;
};

Times TimesOf(const Form& body) {
  const Times start = {SecondsOf(CLOCK_MONOTONIC), SecondsOf(CLOCK_PROCESS_CPUTIME_ID)};
  body();
  return {SecondsOf(CLOCK_MONOTONIC) - start.wall, SecondsOf(CLOCK_PROCESS_CPUTIME_ID) - start.cpu};
}

// Of the least of a few runs, by processor time.
double Quickest(const Form& form) {
  form();
  double least = TimesOf(form).cpu;
  for (int i = 0; i < 4; ++i) least = std::min(least, TimesOf(form).cpu);
  return least;
}

at::Tensor Made(const CountedTensor& like) {
  const at::Tensor tensor = at::empty_strided(like.sizes, like.strides, at::TensorOptions(like.type));
  return like.type == at::kFloat || like.type == at::kBFloat16 ? tensor.normal_() : tensor.zero_();
}

// The same numbers, its last two dimensions lying the other way round.
at::Tensor Turned(const at::Tensor& x) {
  return x.stride(-1) == 1 ? x.transpose(-1, -2).contiguous().transpose(-1, -2) : x.contiguous();
}

// x weight^T (+ bias) by oneDNN, which LibTorch itself asks for low precision alone. LibTorch declares it nowhere.
at::Tensor OneDnnLinear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                        const char* then = "none", const char* algorithm = "") {
  using Scalars = c10::List<std::optional<at::Scalar>>;
  using Text = std::optional<c10::string_view>;
  static const auto call = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("mkldnn::_linear_pointwise", "")
                               .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                                                 c10::string_view, Scalars, Text)>();
  return call.call(x, weight, bias.defined() ? std::optional<at::Tensor>(bias) : std::nullopt, then, Scalars(),
                   algorithm);
}

// A weight in the order that oneDNN likes for so many rows.
at::Tensor OneDnnWeight(const at::Tensor& weight, int64_t rows) {
  static const auto call = c10::Dispatcher::singleton()
                               .findSchemaOrThrow("mkldnn::_reorder_linear_weight", "")
                               .typed<at::Tensor(const at::Tensor&, std::optional<int64_t>)>();
  return call.call(weight, rows);
}

// a b (+ bias), of matrices in float32.
void AddOneDnnForms(const at::Tensor& bias, const at::Tensor& a, const at::Tensor& b, std::vector<Form>* forms) {
  forms->push_back([=] { OneDnnLinear(a, b.t(), bias); });
  if (!bias.defined()) {
    forms->push_back([=] { OneDnnLinear(b.t(), a, {}); });
    return;
  }
  // A layer's weight, which stays the same for a step at least.
  const at::Tensor packed = OneDnnWeight(b.t().contiguous(), a.size(0));
  forms->push_back([=] { OneDnnLinear(a, packed, bias); });
}

// a b (+ bias). Of bfloat16 that the processor multiplies as float32, LibTorch's own, which is slow, once.
void AddProductForms(const at::Tensor& bias, const at::Tensor& a, const at::Tensor& b, std::vector<Form>* forms) {
  const bool one_dnn = a.dim() == 2 && a.scalar_type() == at::kFloat && at::globalContext().userEnabledMkldnn();
  for (const at::Tensor& left : {a, Turned(a)}) {
    for (const at::Tensor& right : {b, Turned(b)}) {
      if (bias.defined()) {
        forms->push_back([=] { at::addmm(bias, left, right); });
      } else {
        forms->push_back([=] { at::matmul(left, right); });
        forms->push_back([=] { at::matmul(right.transpose(-1, -2), left.transpose(-1, -2)); });
      }
      if (MultipliesAsFloat32(a)) return;
      if (one_dnn) AddOneDnnForms(bias, left, right, forms);
    }
  }
}

// The operation `name` of these, as the step does it first.
void AddForms(const std::string& name, const std::vector<at::Tensor>& in, std::vector<Form>* forms) {
  if (name == "addmm") {
    AddProductForms(in[0], in[1], in[2], forms);
  } else if (name == "mm" || name == "bmm") {
    AddProductForms({}, in[0], in[1], forms);
  } else if (name == "tec::weight_gradient") {
    const at::Tensor dy = in[0].t(), &x = in[1];
    forms->push_back([=] { WeightGradient(dy, x, {}); });
    AddProductForms({}, in[0], in[1], forms);
  } else if (name == "tec::product" || name == "tec::product_gelu") {
    const at::Tensor x = in[0].flatten(0, -2), &weight = in[1], bias = in.size() > 2 ? in[2] : at::Tensor();
    const bool gelu = name == "tec::product_gelu";
    forms->push_back([=] { gelu ? ProductGelu(x, weight, bias) : Product(x, weight, bias); });
    if (!MultipliesAsFloat32(x)) {
      forms->push_back([=] { OneDnnLinear(x, weight, bias, gelu ? "gelu" : "none", gelu ? "none" : ""); });
    }
    AddProductForms(bias, x, weight.t(), forms);
  } else if (name == "tec::head_product") {
    const at::Tensor &a = in[0], &b = in[1];
    for (const HeadOrder order : {HeadOrder::kHeadsFirst, HeadOrder::kRowsFirst}) {
      forms->push_back([=] { HeadProduct(a, b, order); });
    }
    AddProductForms({}, a, b.transpose(2, 3), forms);
  } else if (name == "baddbmm") {
    // A factor times the product, into a place of which nothing is read: the products of tec/nn/relation_logits.
    const at::Tensor &into = in[0], &a = in[1], &b = in[2];
    forms->push_back([=] {
      at::Tensor result = into;
      at::baddbmm_out(result, into, a, b, /*beta=*/0, /*alpha=*/0.1);
    });
    AddProductForms({}, a, b, forms);
  } else if (absl::StrContains(name, "scaled_dot_product_flash_attention_for_cpu")) {
    const bool backward = absl::EndsWith(name, "_backward");
    const at::Tensor &q = in[backward ? 1 : 0], &k = in[backward ? 2 : 1], &v = in[backward ? 3 : 2];
    const at::Tensor weights = at::matmul(q, k.transpose(-1, -2));
    if (backward) {
      const at::Tensor &d = in[0], &out = in[4], &sum = in[5];
      forms->push_back(
          [=] { at::_scaled_dot_product_flash_attention_for_cpu_backward(d, q, k, v, out, sum, 0, false); });
      forms->push_back([=] {
        at::matmul(weights.transpose(-1, -2), d);  // Of v, of the weights, of q and of k.
        at::matmul(d, v.transpose(-1, -2));
        at::matmul(weights, k);
        at::matmul(weights.transpose(-1, -2), q);
      });
    } else {
      forms->push_back([=] { at::_scaled_dot_product_flash_attention_for_cpu(q, k, v); });
      forms->push_back([=] {
        at::matmul(q, k.transpose(-1, -2));
        at::matmul(weights, v);
      });
    }
  }
}

std::vector<Form> FormsOf(const CountedOperation& operation) {
  std::vector<at::Tensor> in;
  for (const CountedTensor& tensor : operation.inputs) in.push_back(Made(tensor));
  std::vector<Form> forms;
  AddForms(operation.name, in, &forms);
  if (std::any_of(in.begin(), in.end(), MultipliesAsFloat32)) {
    // The limit is that of operands which are float32 already.
    for (at::Tensor& x : in) x = MultipliesAsFloat32(x) ? x.to(at::kFloat) : x;
    AddForms(operation.name, in, &forms);
  }
  TEC_CHECK(!forms.empty()) << "a product of a kind that is not known here: " << operation.name;
  return forms;
}

std::string KeyOf(const CountedOperation& operation) {
  std::string key = operation.name;
  for (const CountedTensor& tensor : operation.inputs) {
    absl::StrAppend(&key, " ", static_cast<int>(tensor.type), "[", absl::StrJoin(tensor.sizes, ","), "](",
                    absl::StrJoin(tensor.strides, ","), ")");
  }
  return key;
}

// What one step does, and what is measured of it.
void Products(benchmark::State& state, const std::function<Form(at::ScalarType)>& make, at::ScalarType precision) {
  KeepFreedMemory();
  const Form step = make(precision);
  step();  // Allocates the memory.
  std::vector<CountedOperation> operations;
  {
    OperationCounter counter;
    step();
    operations = counter.Take();
  }
  at::NoGradGuard no_grad;
  std::map<std::string, std::vector<Form>> distinct;  // As the step has it, then the quickest.
  std::vector<const std::vector<Form>*> list;
  double flops = 0;
  for (const CountedOperation& operation : operations) {
    if (operation.kind != kProducts && operation.kind != kAttention) continue;
    flops += operation.flops;
    auto [found, is_new] = distinct.try_emplace(KeyOf(operation));
    if (is_new) {
      const std::vector<Form> forms = FormsOf(operation);
      std::vector<double> seconds;
      for (const Form& form : forms) seconds.push_back(Quickest(form));
      found->second = {forms[0], forms[std::min_element(seconds.begin(), seconds.end()) - seconds.begin()]};
    }
    list.push_back(&found->second);
  }
  TEC_CHECK(!list.empty()) << "a step without products";
  const auto run = [&](size_t form) {
    for (const std::vector<Form>* forms : list) (*forms)[form]();
  };
  const auto whole_step = [&] {
    at::AutoGradMode grad(true);
    step();
  };

  whole_step();  // In memory beside that of the operands made up here.
  Times before = TimesOf(whole_step), as_is = TimesOf([&] { run(0); }), products;
  for (auto _ : state) {
    const Times times = TimesOf([&] { run(1); });
    products.wall += times.wall / static_cast<double>(state.max_iterations);
    products.cpu += times.cpu / static_cast<double>(state.max_iterations);
  }
  const Times after = TimesOf(whole_step);
  const Times whole = {(before.wall + after.wall) / 2, (before.cpu + after.cpu) / 2};
  state.counters["step_ms"] = whole.wall * 1e3;
  state.counters["step_cpu_ms"] = whole.cpu * 1e3;
  state.counters["as_is_ms"] = as_is.wall * 1e3;
  state.counters["as_is_cpu_ms"] = as_is.cpu * 1e3;
  state.counters["of_step"] = products.wall / whole.wall;
  state.counters["of_step_cpu"] = products.cpu / whole.cpu;
  state.counters["products"] = static_cast<double>(list.size());
  state.counters["products_GFLOP/s"] = flops / products.wall * 1e-9;
}

std::function<Form(at::ScalarType)> Pretraining(const config::Experiment& experiment, int64_t batch) {
  return [experiment, batch](at::ScalarType precision) -> Form {
    config::Experiment typed = experiment;
    typed.mutable_runtime()->set_precision(precision == at::kBFloat16 ? config::BFLOAT16 : config::FLOAT32);
    return [step = std::make_shared<PretrainingStep>(typed, batch, at::kCPU)] { step->Run(); };
  };
}

std::function<Form(at::ScalarType)> Finetuning(const VitOptions& encoder, int64_t batch) {
  return [encoder, batch](at::ScalarType precision) -> Form {
    FinetuningStepOptions options;
    options.encoder = encoder;
    options.precision = precision;
    return [step = std::make_shared<FinetuningStep>(options, batch, at::kCPU)] { step->Run(); };
  };
}

void Register() {
  const std::vector<std::pair<std::string, std::function<Form(at::ScalarType)>>> steps = {
      {"tiny_batch_8", Pretraining(TinyExperiment(), 8)},
      {"finetune_tiny_batch_4", Finetuning({32, 4, 64, 2, 2}, 4)},
      {"vit_ti8_64_batch_64", Pretraining(TinyAt64Experiment(), 64)},
      {"finetune_vit_small_batch_8", Finetuning({224, 16, 384, 12, 6}, 8)},
      {"vit_b16_batch_8", Pretraining(RowBExperiment(), 8)}};
  for (const auto& [name, make] : steps) {
    for (const at::ScalarType precision : {at::kFloat, at::kBFloat16}) {
      const std::string full = absl::StrCat("Products/", name, precision == at::kFloat ? "/float32" : "/bfloat16");
      benchmark::RegisterBenchmark(
          full.c_str(), [make = make, precision](benchmark::State& state) { Products(state, make, precision); })
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime()
          ->MeasureProcessCPUTime()
          ->Iterations(3);
    }
  }
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  tec::Register();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
