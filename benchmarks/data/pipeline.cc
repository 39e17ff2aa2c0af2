// The whole input pipeline over a folder, for comparison with others: prints one line of JSON.
//
//   ./bazelw run //benchmarks/data:pipeline -- --folder=/imagenet/train --images=2000
//
// start_seconds: from opening the data set to the first batch; seconds and cpu_seconds: wall-clock and processor time
// of `images` further images; before_mib, after_mib and peak_mib: resident memory before them, after them, and the most
// the process has ever had.
//
//   ./bazelw run //benchmarks/data:pipeline -- --folder=/imagenet/train --threads=2 --against_one_thread=7
//
// times that many rounds of one thread and of --threads in turns, on whatever else the machine is doing, and prints the
// medians of their images a second and of the ratio.

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

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
ABSL_FLAG(int, against_one_thread, 0, "Rounds of --threads against one thread; 0: no comparison.");

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

double ResidentMib() {
  std::ifstream statm("/proc/self/statm");
  int64_t all = 0, resident = 0;
  statm >> all >> resident;
  TEC_CHECK(!statm.fail());
  return static_cast<double>(resident * sysconf(_SC_PAGESIZE)) / (1 << 20);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

// Images a second of a loader that is made for it: no batch is ready before the clock runs.
double Speed(const std::shared_ptr<const Dataset>& dataset, LoaderOptions options, int threads) {
  options.threads = threads;
  auto loader = Loader::Create(dataset, std::make_shared<TrainTransform>(TrainTransform::Options{}), options);
  TEC_CHECK_OK(loader);
  const auto begin = std::chrono::steady_clock::now();
  int64_t epoch = 0;
  (*loader)->StartEpoch(epoch);
  const int64_t images = Take(absl::GetFlag(FLAGS_images), loader->get(), &epoch);
  return images / Seconds(begin);
}

int CompareThreads(const std::shared_ptr<const Dataset>& dataset, const LoaderOptions& options) {
  std::vector<double> one, many, ratios;
  for (int round = -1; round < absl::GetFlag(FLAGS_against_one_thread); ++round) {
    const double slow = Speed(dataset, options, 1), fast = Speed(dataset, options, options.threads);
    if (round < 0) continue;  // Reads the files from disk.
    one.push_back(slow);
    many.push_back(fast);
    ratios.push_back(fast / slow);
  }
  absl::PrintF(
      "{\"threads\": %d, \"rounds\": %d, \"images_per_second_of_one\": %.1f, \"images_per_second\": %.1f, \"ratio\": "
      "%.3f, \"least\": %.3f, \"most\": %.3f}\n",
      options.threads, ratios.size(), Median(one), Median(many), Median(ratios),
      *std::min_element(ratios.begin(), ratios.end()), *std::max_element(ratios.begin(), ratios.end()));
  return 0;
}

int Main() {
  const auto start = std::chrono::steady_clock::now();
  DatasetOptions dataset_options;
  dataset_options.index_folder = UserPath(absl::GetFlag(FLAGS_index_folder));
  auto opened = OpenDataset(UserPath(absl::GetFlag(FLAGS_folder)), Split::kTrain, dataset_options);
  TEC_CHECK_OK(opened);
  const std::shared_ptr<const Dataset> dataset = *std::move(opened);
  LoaderOptions options;
  options.batch_size = absl::GetFlag(FLAGS_batch_size);
  options.threads = absl::GetFlag(FLAGS_threads);
  if (absl::GetFlag(FLAGS_against_one_thread) > 0) return CompareThreads(dataset, options);
  auto loader = Loader::Create(dataset, std::make_shared<TrainTransform>(TrainTransform::Options{}), options);
  TEC_CHECK_OK(loader);
  int64_t epoch = 0;
  (*loader)->StartEpoch(epoch);
  Take(1, loader->get(), &epoch);
  const double start_seconds = Seconds(start);
  Take(absl::GetFlag(FLAGS_images), loader->get(), &epoch);

  const auto begin = std::chrono::steady_clock::now();
  const double cpu_begin = CpuSeconds(), before_mib = ResidentMib();
  const int64_t images = Take(absl::GetFlag(FLAGS_images), loader->get(), &epoch);
  const double seconds = Seconds(begin), cpu_seconds = CpuSeconds() - cpu_begin, after_mib = ResidentMib();
  rusage usage;
  TEC_CHECK_EQ(getrusage(RUSAGE_SELF, &usage), 0);
  absl::PrintF(
      "{\"images\": %d, \"start_seconds\": %.4f, \"seconds\": %.4f, \"cpu_seconds\": %.4f, \"before_mib\": %.1f, "
      "\"after_mib\": %.1f, \"peak_mib\": %.1f}\n",
      images, start_seconds, seconds, cpu_seconds, before_mib, after_mib, usage.ru_maxrss / 1024.0);
  return 0;
}

}  // namespace
}  // namespace tec

int main(int argc, char** argv) {
  tec::InitLogging(argv[0]);
  absl::ParseCommandLine(argc, argv);
  return tec::Main();
}
