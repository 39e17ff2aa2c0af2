// What the user sees while training: a bar that is redrawn in place on a terminal, one line every print_freq steps
// elsewhere (recipe.md section 11: the reference's line, with images/s added).

#ifndef TEC_RUN_PROGRESS_H_
#define TEC_RUN_PROGRESS_H_

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace tec {

struct ProgressState {
  int64_t epoch = 0, epochs = 0;          // 0-based; how many in all.
  int64_t step = 0, steps_per_epoch = 0;  // Micro-steps of this epoch that are done.
  double lr = 0;
  // Name, median of the newest 20, mean of the epoch. The first one is the total loss.
  struct Loss {
    std::string name;
    double median = 0, mean = 0;
  };
  std::vector<Loss> losses;
  double images_per_second = 0;
  double step_seconds = 0;       // Time a micro-step takes, the wait for data included.
  double data_wait_seconds = 0;  // Part of it spent waiting for the loader.
  double eta_seconds = 0;        // To the end of the last epoch.
};

// "H:MM:SS"; "?" if it is not finite.
std::string FormatDuration(double seconds);
// `Epoch: [0]  [ 20/625]  eta: 0:10:03  lr: 0.000300  loss: 1.2000 (1.3000)  ...  time: 0.5000 s  data: 0.0100 s  ...`
std::string FormatLine(const ProgressState& state);
// One line of at most `columns` characters: `epoch 1/300 [###---]  21/625  loss 1.2000  lr 3.00e-04  ...`
std::string FormatBar(const ProgressState& state, int columns);

class Progress {
 public:
  struct Options {
    std::FILE* file = stdout;
    int64_t print_freq = 20;
    bool quiet = false;
    double log_seconds = 0;  // Without a terminal, a line at least so often; 0: by print_freq alone.
  };
  explicit Progress(const Options& options);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Whether Update() would show `step` of `steps_per_epoch`; spares the caller the work of making a state.
  bool WouldShow(int64_t step, int64_t steps_per_epoch) const;
  void Update(const ProgressState& state);
  // A line of its own, above the bar. Adds the end of line.
  void Print(const std::string& line);

 private:
  void Clear();

  Options options_;
  bool terminal_;
  bool drawn_ = false;
  bool written_ = false;  // Whether a line of progress has been.
  double last_drawn_ = 0;
};

}  // namespace tec

#endif  // TEC_RUN_PROGRESS_H_
