// A session's optimizer: which parameter gets what, and its way into a checkpoint and back.
#include <set>
#include <utility>

#include "base/files.h"
#include "model/files/safetensors.h"
#include "model/transposed.h"
#include "trainer/session.h"

namespace nibble {

// A table of tokens, positions or token types, whole or the rows an adapter has of it. Files may
// leave out the beginning of a name that the family has.
bool Session::is_embedding(const Parameter& parameter) const {
  const Blueprint::Names& names = model_.decoder->blueprint().names;
  for (const std::string& table : {names.embedding, names.positions, names.token_types}) {
    if (table.empty()) continue;
    for (const char* end : {".weight", ".token_adapter.trainable_tokens_delta"}) {
      const std::string full = table + end;
      if (parameter.name == full || ends_with(full, "." + parameter.name)) return true;
    }
  }
  return false;
}

void Session::make_update() {
  const std::vector<TrainedParameter> trained = resolve(
      recipe_.settings_plan(), parameters_, [this](const Parameter& p) { return is_embedding(p); });
  UpdateOptions options;
  options.max_grad_norm = recipe_.max_grad_norm;
  options.max_grad_value = recipe_.max_grad_value;
  options.percentile = recipe_.percentile_clipping;
  options.scales_loss = recipe_.compute() == DType::f16;
  auto optimizer =
      Optimizer::make(Ctx(device_, recipe_.compute()), recipe_.optimizer_options(), trained);
  update_ = std::make_unique<Update>(options, std::move(optimizer), parameters_);
}

void Session::save_optimizer(const std::string& folder) const {
  write_safetensors(join_path(folder, "optimizer.safetensors"), update_->optimizer().state());
}

void Session::load_checkpoint(const std::string& directory, const Json& update) {
  const std::string stem = recipe_.full() ? "model" : "adapter_model";
  const TensorFiles files = TensorFiles::open(directory, stem);
  const std::string prefix = recipe_.full() ? "" : "base_model.model.";
  std::set<const Parameter*> turned;  // lie (in, out) on file
  if (recipe_.full() && model_.decoder->blueprint().transposed)
    for (const Linear* linear : std::as_const(*model_.decoder).linears())
      turned.insert(linear->trained().get());
  for (Parameter* p : parameters_) {
    Tensor saved = files.read(prefix + p->name, device_.memory(), Purpose::staging);
    if (turned.count(p) != 0) saved = transposed(device_, saved, Purpose::staging);
    // bf16 masters are saved in f32, which holds them exactly.
    const bool widened = saved.dtype() == DType::f32 && p->value.dtype() == DType::bf16;
    if (!(saved.shape() == p->value.shape()) || (saved.dtype() != p->value.dtype() && !widened))
      throw UserError(
          directory, cat(p->name, " has shape ", saved.shape(), ", the run has ", p->value.shape()),
          "the checkpoint is of another recipe", Exit::bad_data);
    device_.kernels().cast(device_.stream(), saved.rows(), saved.cols(), saved.dtype(), saved.raw(),
                           saved.pitch(), p->value.dtype(), p->value.raw(), p->value.pitch());
  }
  const TensorFiles state = TensorFiles::open_file(join_path(directory, "optimizer.safetensors"));
  NamedTensors tensors;
  for (const TensorInfo& info : state.tensors())
    tensors.emplace_back(info.name, state.read(info.name, device_.memory(), Purpose::staging));
  update_->optimizer().load(tensors);
  update_->load(update, directory);
}

}  // namespace nibble
