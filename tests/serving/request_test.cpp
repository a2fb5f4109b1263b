#include "serving/request.h"

#include <gtest/gtest.h>

#include <set>

namespace nibble::serving {
namespace {

TEST(RequestStates, MoveOnlyAlongTheTable) {
  const auto q = State::queued, p = State::prefilling, d = State::decoding, e = State::preempted,
             f = State::finished;
  const std::set<std::pair<State, State>> allowed = {{q, p}, {p, d}, {p, e}, {d, e}, {e, p},
                                                     {q, f}, {p, f}, {d, f}, {e, f}};
  for (const State from : {q, p, d, e, f})
    for (const State to : {q, p, d, e, f})
      EXPECT_EQ(may_move(from, to), allowed.count({from, to}) == 1)
          << name_of(from) << " to " << name_of(to);
}

TEST(FinishReasons, HaveTheWordsClientsKnow) {
  EXPECT_STREQ(wire_name(FinishReason::stop), "stop");
  EXPECT_STREQ(wire_name(FinishReason::length), "length");
  EXPECT_STREQ(wire_name(FinishReason::cancelled), "abort");
}

}  // namespace
}  // namespace nibble::serving
