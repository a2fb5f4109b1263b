// States in memory: one slice for each parameter, walking is a loop.
#include <cstring>

#include "optim/state_store.h"

namespace nibble {
namespace {

struct StateTensor {
  Tensor values;  // shape of the parameter
  Tensor absmax;  // f32 (blocks); undefined for fp32 values
};

float* absmax_of(const StateTensor& t) {
  return t.absmax.defined() ? t.absmax.data<float>() : nullptr;
}

class ResidentStates : public StateStore {
 public:
  ResidentStates(const Ctx& ctx, std::vector<StateGroup> groups) : groups_(std::move(groups)) {
    for (const StateGroup& group : groups_) {
      std::vector<StateTensor>& made = tensors_.emplace_back();
      for (const StateLayout& s : group.states) {
        StateTensor& t = made.emplace_back();
        t.values = Tensor::empty(ctx.memory, s.shape, s.dtype(), Purpose::optimizer);
        if (s.coded()) {
          t.absmax =
              Tensor::empty(ctx.memory, {s.blocks(group.elements)}, DType::f32, Purpose::optimizer);
        }
        s.fill(t.values.raw(), absmax_of(t), group.elements);
      }
    }
  }

  void walk(const std::vector<bool>& wanted, bool,
            const std::function<void(const StateSlice&)>& visit) override {
    for (size_t g = 0; g < groups_.size(); ++g) {
      if (!wanted[g]) continue;
      StateSlice slice{g, 0, groups_[g].elements, {}};
      for (size_t k = 0; k < tensors_[g].size(); ++k) {
        const StateTensor& t = tensors_[g][k];
        slice.views[k] = groups_[g].states[k].view(t.values.raw(), absmax_of(t));
      }
      visit(slice);
    }
  }

  NamedTensors tensors() const override {
    NamedTensors all;
    for (size_t g = 0; g < groups_.size(); ++g) {
      for (size_t k = 0; k < tensors_[g].size(); ++k) {
        const StateLayout& s = groups_[g].states[k];
        all.emplace_back(s.name, tensors_[g][k].values);
        if (s.coded()) all.emplace_back(s.absmax_name(), tensors_[g][k].absmax);
      }
    }
    return all;
  }

  void load(StateReader& reader) override {
    for (auto& [name, tensor] : tensors()) {
      const Tensor saved = reader.take(name, tensor.shape(), tensor.dtype());
      if (saved.bytes() > 0) {
        std::memcpy(tensor.raw(), saved.raw(), static_cast<size_t>(saved.bytes()));
      }
    }
  }

  int64_t bytes() const override {
    int64_t sum = 0;
    for (const StateGroup& group : groups_) sum += group.bytes(group.elements);
    return sum;
  }
  int64_t resident_bytes() const override { return bytes(); }

 private:
  std::vector<StateGroup> groups_;
  std::vector<std::vector<StateTensor>> tensors_;  // of each group
};

}  // namespace

std::unique_ptr<StateStore> make_resident_states(const Ctx& ctx, std::vector<StateGroup> groups) {
  return std::make_unique<ResidentStates>(ctx, std::move(groups));
}

}  // namespace nibble
