// How LibTorch's compute threads wait for each other.
//
// Those of GNU OpenMP spin for milliseconds. As soon as anything else wants a core (the loader's threads, a compiler
// next door) a spinning thread holds up the very one it waits for: on 2 cores with one of them taken, a small model
// trained at 290 images/s that way and at 820 when the threads go to sleep at once; with none taken, at 1070 both ways.

#ifndef TEC_TRAIN_SLEEPING_THREADS_H_
#define TEC_TRAIN_SLEEPING_THREADS_H_

namespace tec {

// Call first in main(). OpenMP reads its environment when it is loaded, before main(), so this starts the program
// anew, in the same process, with GOMP_SPINCOUNT=0; it returns there. If the user has set GOMP_SPINCOUNT or
// OMP_WAIT_POLICY, or if starting anew fails, it just returns.
void LetWaitingThreadsSleep(char** argv);

}  // namespace tec

#endif  // TEC_TRAIN_SLEEPING_THREADS_H_
