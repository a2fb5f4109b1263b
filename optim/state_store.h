// Where the states of all parameters are. A step walks over them in one order, slice by slice, and
// does not know which lay in memory and which came from a file.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "optim/optimizer.h"

namespace nibble {

constexpr int kMaxStates = 3;

// The states of one parameter.
struct StateGroup {
  int64_t elements = 0;
  std::vector<StateLayout> states;

  int64_t bytes(int64_t of_elements) const {
    int64_t sum = 0;
    for (const StateLayout& s : states) sum += s.bytes(of_elements);
    return sum;
  }
};

// Elements [begin, begin + count) of a group, begin a multiple of 4096.
struct StateSlice {
  size_t group = 0;
  int64_t begin = 0, count = 0;
  std::array<StateView, kMaxStates> views;
};

class StateStore {
 public:
  virtual ~StateStore() = default;
  // Calls visit for slices that cover every group with wanted[group], in order; `writes`: visit
  // changes the states.
  virtual void walk(const std::vector<bool>& wanted, bool writes,
                    const std::function<void(const StateSlice&)>& visit) = 0;
  // Live windows: each state, and for codes its absmax behind it.
  virtual NamedTensors tensors() const = 0;
  virtual void load(StateReader& reader) = 0;
  virtual int64_t bytes() const = 0;
  virtual int64_t resident_bytes() const = 0;
};

// All of it in memory.
std::unique_ptr<StateStore> make_resident_states(const Ctx& ctx, std::vector<StateGroup> groups);

}  // namespace nibble
