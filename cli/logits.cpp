// nibble logits: the logits of every position of given token ids, as a file other tools can
// compare.
#include "base/errors.h"
#include "base/files.h"
#include "cli/command_line.h"
#include "cli/model_flags.h"
#include "model/files/safetensors.h"

namespace nibble {
namespace {

std::vector<std::string> states_of(const Blueprint& b, bool hidden) {
  if (!hidden) return {};
  std::vector<std::string> names{"embed"};
  for (int64_t i = 0; i < b.layers; ++i) names.push_back(cat("block", i));
  names.emplace_back("head_input");
  return names;
}

// Rotary positions go on for ever; a table of learned ones ends.
void check_positions(const std::string& file, size_t entry, int64_t tokens, const Blueprint& b) {
  if (b.positions != Positions::learned || tokens <= b.max_positions) return;
  throw UserError(
      file,
      cat("entry ", entry, " has ", tokens, " ids, the model has ", b.max_positions, " positions"),
      "shorten it", Exit::bad_data);
}

}  // namespace

int run_logits(const std::vector<std::string>& arguments) {
  CommandLine line("logits", "write the logits of token ids to a safetensors file",
                   "MODEL --tokens ids.json --out x.safetensors [options]");
  std::string tokens, out;
  bool hidden = false;
  ModelFlags flags;
  flags.declare(line);
  Settings& f = line.flags();
  f.heading("Files");
  f.field("tokens", tokens, "a JSON list of lists of token ids").placeholder("FILE").required();
  f.field("out", out, "tensors logits.0, logits.1, … f32 (tokens, vocab)")
      .placeholder("FILE")
      .required();
  f.field("hidden", hidden,
          "also what flows between the blocks: embed.0, block0.0, …, head_input.0");
  line.example("nibble logits model/ --tokens ids.json --out x.safetensors --dtype f32");
  if (!line.parse(arguments)) return 0;

  const Device device = flags.device();
  const Model model = flags.load(device);
  const Blueprint& b = model.decoder->blueprint();
  const auto lists = read_id_lists(tokens, b.vocab);
  std::vector<SafetensorsWriter::Entry> entries;
  for (size_t i = 0; i < lists.size(); ++i) {
    const auto n = static_cast<int64_t>(lists[i].size());
    check_positions(tokens, i, n, b);
    for (const std::string& state : states_of(b, hidden))
      entries.push_back({cat(state, ".", i), DType::f32, {n, b.hidden}});
    entries.push_back({cat("logits.", i), DType::f32, {n, b.vocab}});
  }
  SafetensorsWriter writer(out, std::move(entries));
  Ctx ctx(device, model.options.compute);
  for (size_t i = 0; i < lists.size(); ++i) {
    Document document;
    document.ids = lists[i];
    PackedBatch batch = pack(device.memory(), {document});
    ForwardContext context{ctx};
    context.packed = &batch.segments;
    context.adapters = {{0, 0, batch.segments.tokens}};
    if (lists[i].empty()) {
      for (size_t s = 0; s < states_of(b, hidden).size(); ++s)
        writer.write(ctx.empty({0, b.hidden}, DType::f32));
      writer.write(ctx.empty({0, b.vocab}, DType::f32));
      continue;
    }
    Decoder::Tap tap;
    if (hidden)
      tap = [&](const std::string&, const Tensor& x) { writer.write(copy_as(ctx, x, DType::f32)); };
    const Var last = model.decoder->hidden(context, batch.ids, Checkpointing::off, tap);
    writer.write(model.decoder->logits(ctx, last.value(), context.adapters));
  }
  writer.commit();
  return 0;
}

}  // namespace nibble
