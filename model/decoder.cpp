// What a decoder is made of: every part the blueprint names, asked of the source in file order.
#include "model/decoder.h"

#include <algorithm>
#include <cstring>

#include "kernels/memory.h"

namespace nibble {

Decoder::Decoder(Blueprint blueprint, LinearSource& source)
    : blueprint_(std::move(blueprint)), trains_(source.trains()) {
  const Blueprint& b = blueprint_;
  const Blueprint::Names& n = b.names;
  check_eq(static_cast<int64_t>(b.layer.size()), b.layers, "blueprint: one entry a layer");
  embedding_ = source.embedding(n.embedding, b.vocab, b.hidden, b.tied && b.head_bias);
  if (b.positions == Positions::learned)
    positions_ = source.embedding(n.positions, b.max_positions, b.hidden, false);
  if (b.token_types > 0)
    token_types_ = source.embedding(n.token_types, b.token_types, b.hidden, false);
  if (!n.embedding_norm.empty()) embedding_norm_ = model_norm(source, n.embedding_norm);
  for (int64_t i = 0; i < b.layers; ++i) layers_.push_back(make_layer(source, i));
  if (!n.final_norm.empty()) final_norm_ = model_norm(source, n.final_norm);
  if (!n.pooler.empty() && source.has(n.pooler + ".weight"))
    pooler_ = source.linear(n.pooler, b.hidden, b.hidden, Split::none, true);
  if (!b.encoder && !b.tied)
    head_ = source.linear(n.head, b.vocab, b.hidden, Split::out, b.head_bias);
}

Decoder::Layer Decoder::make_layer(LinearSource& source, int64_t index) const {
  const Blueprint& b = blueprint_;
  Layer layer;
  for (const NormSpec& spec : layer_norms(b))
    layer.norms[static_cast<size_t>(spec.role)] =
        make_norm(source, b.layer_path(index, spec.part), spec);
  for (const LinearSpec& spec : layer_linears(b)) {
    const bool in = spec.role == LinearRole::o || spec.role == LinearRole::down;
    layer.linears[static_cast<size_t>(spec.role)] = source.linear(
        b.layer_path(index, spec.part), spec.out, spec.in, in ? Split::in : Split::out, spec.bias);
  }
  return layer;
}

Decoder::Norm Decoder::model_norm(LinearSource& source, const std::string& path) const {
  NormSpec spec;
  spec.width = blueprint_.hidden;
  spec.layer_norm = blueprint_.norm == NormKind::layer;
  spec.bias = blueprint_.norm_bias;
  spec.eps = blueprint_.norm_eps;
  spec.offset = blueprint_.norm_offset;
  return make_norm(source, path, spec);
}

Decoder::Norm Decoder::make_norm(LinearSource& source, const std::string& path,
                                 const NormSpec& spec) const {
  Norm norm;
  norm.spec = spec;
  const Shape shape = spec.own ? Shape{spec.groups, spec.width} : Shape{spec.width};
  const size_t hole = path.find("%d");
  if (hole == std::string::npos) {
    norm.weight = source.vector(path + ".weight", shape);
    if (spec.bias) norm.bias = source.vector(path + ".bias", shape);
    return norm;
  }
  // One tensor a group on file, one here.
  if (trains_)
    throw UserError(path, "is one tensor a head: such a model cannot be trained in full yet",
                    "use adapter: lora or qlora");
  std::vector<std::shared_ptr<Parameter>> pieces;
  for (int64_t g = 0; g < spec.groups; ++g) {
    std::string name = path;
    name.replace(hole, 2, std::to_string(g));
    pieces.push_back(source.vector(name + ".weight", {spec.width}));
  }
  norm.weight = std::make_shared<Parameter>();
  norm.weight->name = path;
  norm.weight->decays = false;
  norm.weight->value =
      Tensor::empty(source.memory(), shape, pieces[0]->value.dtype(), Purpose::weights);
  for (int64_t g = 0; g < spec.groups; ++g) {
    const Tensor& piece = pieces[static_cast<size_t>(g)]->value;
    std::memcpy(norm.weight->value.row_range(g, g + 1).raw(), piece.raw(),
                static_cast<size_t>(piece.bytes()));
  }
  return norm;
}

const Linear& Decoder::head() const { return head_ ? *head_ : embedding_; }

std::vector<Linear*> Decoder::linears() {
  std::vector<Linear*> all;
  for (Layer& layer : layers_)
    for (Linear& linear : layer.linears)
      if (!linear.path().empty()) all.push_back(&linear);
  return all;
}

std::vector<const Linear*> Decoder::linears() const {
  std::vector<const Linear*> all;
  for (Linear* linear : const_cast<Decoder*>(this)->linears()) all.push_back(linear);
  return all;
}

Linear* Decoder::find_linear(const std::string& path) {
  for (Linear* linear : linears())
    if (linear->path() == path) return linear;
  return nullptr;
}

std::vector<Parameter*> Decoder::masters() const {
  std::vector<Parameter*> all;
  const auto add = [&](const Linear& linear) {
    if (linear.trained()) all.push_back(linear.trained().get());
    if (linear.bias()) all.push_back(linear.bias().get());
  };
  const auto add_norm = [&](const Norm& norm) {
    if (norm.weight) all.push_back(norm.weight.get());
    if (norm.bias) all.push_back(norm.bias.get());
  };
  for (const Linear* table : {&embedding_, &positions_, &token_types_}) add(*table);
  add_norm(embedding_norm_);
  for (const Layer& layer : layers_) {
    for (const Norm& norm : layer.norms) add_norm(norm);
    for (const Linear& linear : layer.linears) add(linear);
  }
  add_norm(final_norm_);
  if (head_) add(*head_);
  return all;
}

std::vector<Parameter*> Decoder::parameters() const {
  if (trains_) return masters();
  std::vector<Parameter*> all;
  for (const Linear* linear : linears()) {
    const auto& pair = linear->adapter(0);
    if (!pair || !pair->trains) continue;
    all.push_back(&pair->a);
    all.push_back(&pair->b);
  }
  const AdapterTokens& own = tokens(0);
  if (own.embedding && own.embedding->trains) all.push_back(&own.embedding->rows);
  if (own.head && own.head->trains && own.head != own.embedding) all.push_back(&own.head->rows);
  return all;
}

}  // namespace nibble
