// The whole input pipeline over a folder, for comparison with others: prints one line of JSON.
//
//   ./bazelw run //benchmarks/data:pipeline -- --folder=/imagenet/train --images=2000
//
// start_seconds: from opening the data set to the first batch; seconds and cpu_seconds: wall-clock and processor time
// of `images` further images; peak_mib: the most memory the process has had resident.

#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/str_format.h"
#include "data/dataset/dataset.h"
#include "data/loader/loader.h"
#include "data/loader/transform.h"
#include "tec/base/logging.h"
#include "tec/base/path.h"

ABSL_FLAG(std::string, folder, "", "A data set: what --data_path of the training accepts.");
ABSL_FLAG(std::string, index_folder, "", "Where the index of the data set is kept; empty: nowhere.");
ABSL_FLAG(int64_t, images, 1000, "Images that are measured, after as many that are not.");
ABSL_FLAG(int64_t, batch_size, 32, "");
ABSL_FLAG(int, threads, 1, "Threads that decode.");

namespace tec {
namespace {

double Seconds(std::chrono::steady_clock::time_point since) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

double CpuSeconds() {
  rusage usage;
  TEC_CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  const auto seconds = [](const timeval& t) { return t.tv_sec + 1e-6 * t.tv_usec; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Takes batches until they hold `images` images.
int64_t Take(int64_t images, Loader* loader, int64_t* epoch) {
  int64_t taken = 0;
  while (taken < images) {
    absl::StatusOr<const Batch*> batch = loader->Next();
    TEC_CHECK_OK(batch);
    if (*batch == nullptr) {
      loader->StartEpoch(++*epoch);
      continue;
    }
    taken += (*batch)->count;
  }
  return taken;
}

int Main() {
  const auto start = std::chrono::steady_clock::now();
  DatasetOptions dataset_options;
  dataset_options.index_folder = UserPath(absl::GetFlag(FLAGS_index_folder));
  auto dataset = OpenDataset(UserPath(absl::GetFlag(FLAGS_folder)), Split::kTrain, dataset_options);
  TEC_CHECK_OK(dataset);
  LoaderOptions options;
  options.batch_size = absl::GetFlag(FLAGS_batch_size);
  options.threads = absl::GetFlag(FLAGS_threads);
  auto loader =
      Loader::Create(std::move(*dataset), std::make_shared<TrainTransform>(TrainTransform::Options{}), options);
  TEC_CHECK_OK(loader);
  int64_t epoch = 0;
  (*loader)->StartEpoch(epoch);
  Take(1, loader->get(), &epoch);
  const double start_seconds = Seconds(start);
  Take(absl::GetFlag(FLAGS_images), loader->get(), &epoch);

  const auto begin = std::chrono::steady_clock::now();
  const double cpu_begin = CpuSeconds();
  const int64_t images = Take(absl::GetFlag(FLAGS_images), loader->get(), &epoch);
  const double seconds = Seconds(begin), cpu_seconds = CpuSeconds() - cpu_begin;
  rusage usage;
  TEC_CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  absl::PrintF(
      "{\"images\": %d, \"start_seconds\": %.4f, \"seconds\": %.4f, \"cpu_seconds\": %.4f, \"peak_mib\": %.1f}\n",
      images, start_seconds, seconds, cpu_seconds, usage.ru_maxrss / 1024.0);
  return 0;
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  tec::InitLogging(argv[0]);
  absl::ParseCommandLine(argc, argv);
  return tec::Main();
}
