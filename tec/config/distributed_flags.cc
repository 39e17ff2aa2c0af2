#include "tec/config/distributed_flags.h"

#include "absl/flags/flag.h"

// Defaults: recipe.md section 9.

ABSL_FLAG(int64_t, world_size, 1, "number of ranks; the environment overrides it");
ABSL_FLAG(int64_t, rank, 0, "number of this rank; the environment overrides it");
ABSL_FLAG(int64_t, local_rank, -1, "accepted for launchers that pass it, and never used");
ABSL_FLAG(bool, dist_on_itp, false, "take rank and world size from Open MPI's environment");
ABSL_FLAG(std::string, dist_url, "env://", "where the ranks meet");
ABSL_FLAG(bool, multinode, false, "the reference's switch for several machines: its own rendezvous, port 40101");
ABSL_FLAG(double, dist_timeout, 600,
          "seconds that a rank may be missing, show no sign of life or keep the others waiting before all end");
ABSL_FLAG(int64_t, check_ranks_every, 0,
          "compare weights and optimiser state over all ranks every so many updates; 0: at the start and at saves");
ABSL_FLAG(bool, bind, true, "run a rank on the cores of the memory node that its GPU is at, where the kernel tells");
ABSL_FLAG(bool, deterministic, false,
          "on GPUs: sums in one order, so that equal runs give equal bytes; slower; the CPU's always do");
ABSL_FLAG(bool, bfloat16_gradients, false,
          "gradients travel between the ranks in bfloat16: half the bytes, and 8 bits of each number");

namespace tec {

Distributed DistributedFlags() {
  Distributed distributed;
  distributed.world_size = absl::GetFlag(FLAGS_world_size);
  distributed.rank = absl::GetFlag(FLAGS_rank);
  distributed.local_rank = absl::GetFlag(FLAGS_local_rank);
  distributed.dist_on_itp = absl::GetFlag(FLAGS_dist_on_itp);
  distributed.dist_url = absl::GetFlag(FLAGS_dist_url);
  distributed.multinode = absl::GetFlag(FLAGS_multinode);
  distributed.dist_timeout = absl::GetFlag(FLAGS_dist_timeout);
  distributed.check_ranks_every = absl::GetFlag(FLAGS_check_ranks_every);
  distributed.bind = absl::GetFlag(FLAGS_bind);
  distributed.deterministic = absl::GetFlag(FLAGS_deterministic);
  distributed.bfloat16_gradients = absl::GetFlag(FLAGS_bfloat16_gradients);
  return distributed;
}

FlagGroup DistributedFlagGroup(bool sends_gradients) {
  FlagGroup group = {"Several processes",
                     {{"world_size", ""},
                      {"rank", ""},
                      {"local_rank", ""},
                      {"dist_on_itp", ""},
                      {"dist_url", ""},
                      {"multinode", ""},
                      {"dist_timeout", ""},
                      {"check_ranks_every", ""},
                      {"bind", ""},
                      {"deterministic", ""}}};
  if (sends_gradients) group.flags.push_back({"bfloat16_gradients", ""});
  return group;
}

}  // namespace tec
