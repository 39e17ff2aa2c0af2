// How the ranks of torchrun meet: its agent serves a store, where rank 0 says at which port of its machine they do.

#ifndef TEC_DIST_AGENT_MEETING_H_
#define TEC_DIST_AGENT_MEETING_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "tec/dist/environment.h"
#include "tec/dist/lifeline.h"

namespace tec {

// As Lifeline::Meet, of ranks for which environment.agent_serves_store; Unavailable, too, for an agent that does not
// answer.
absl::StatusOr<std::unique_ptr<Lifeline>> MeetAtAgent(const LaunchEnvironment& environment, LifelineOptions options,
                                                      const absl::Status& own);

}  // namespace tec

#endif  // TEC_DIST_AGENT_MEETING_H_
