// The life of a request as a table, and the words that clients read.
#include "serving/request.h"

namespace nibble::serving {
namespace {

struct Edge {
  State from, to;
};
constexpr Edge kEdges[] = {
    {State::queued, State::prefilling},   {State::queued, State::finished},
    {State::prefilling, State::decoding}, {State::prefilling, State::preempted},
    {State::prefilling, State::finished}, {State::decoding, State::preempted},
    {State::decoding, State::finished},   {State::preempted, State::prefilling},
    {State::preempted, State::finished},
};

}  // namespace

bool may_move(State from, State to) {
  for (const Edge& edge : kEdges)
    if (edge.from == from && edge.to == to) return true;
  return false;
}

const char* name_of(State s) {
  switch (s) {
    case State::queued:
      return "queued";
    case State::prefilling:
      return "prefilling";
    case State::decoding:
      return "decoding";
    case State::preempted:
      return "preempted";
    case State::finished:
      return "finished";
  }
  return "";
}

const char* wire_name(FinishReason r) {
  switch (r) {
    case FinishReason::none:
      return "";
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::cancelled:
      return "abort";
    case FinishReason::timed_out:
      return "timeout";
    case FinishReason::failed:
      return "error";
  }
  return "";
}

}  // namespace nibble::serving
