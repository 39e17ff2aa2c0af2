// How far a pass over a data set has come: a line redrawn in place on a terminal, one every ten seconds elsewhere, so
// that long work is never silent and short work never chatty.
//
//   CountProgress progress("features of train", stderr);
//   progress.Update(done, total);   // after each batch

#ifndef TEC_RUN_COUNT_PROGRESS_H_
#define TEC_RUN_COUNT_PROGRESS_H_

#include <cstdint>
#include <cstdio>
#include <string>

namespace tec {

// "features of train: 1280/50000 images, 512.3 images/s, 0:01:35 left". The rate is over the whole pass.
std::string FormatCount(const std::string& what, int64_t done, int64_t total, double seconds);

class CountProgress {
 public:
  CountProgress(std::string what, std::FILE* file);
  ~CountProgress();
  CountProgress(const CountProgress&) = delete;
  CountProgress& operator=(const CountProgress&) = delete;

  void Update(int64_t done, int64_t total);

 private:
  std::string what_;
  std::FILE* file_;
  bool terminal_, drawn_ = false;
  double started_, shown_;
};

}  // namespace tec

#endif  // TEC_RUN_COUNT_PROGRESS_H_
