// nibble logits: the logits of every position of given token ids, as a file other tools can
// compare.
#include "base/files.h"
#include "cli/command_line.h"
#include "cli/model_flags.h"
#include "model/files/safetensors.h"

namespace nibble {

int run_logits(const std::vector<std::string>& arguments) {
  CommandLine line("logits", "write the logits of token ids to a safetensors file",
                   "MODEL --tokens ids.json --out x.safetensors [options]");
  std::string tokens, out;
  ModelFlags flags;
  flags.declare(line);
  Settings& f = line.flags();
  f.heading("Files");
  f.field("tokens", tokens, "a JSON list of lists of token ids").placeholder("FILE").required();
  f.field("out", out, "tensors logits.0, logits.1, … f32 (tokens, vocab)")
      .placeholder("FILE")
      .required();
  line.example("nibble logits model/ --tokens ids.json --out x.safetensors --dtype f32");
  if (!line.parse(arguments)) return 0;

  const Device device = flags.device();
  const Model model = flags.load(device);
  const Blueprint& b = model.decoder->blueprint();
  const auto lists = read_id_lists(tokens, b.vocab);
  std::vector<SafetensorsWriter::Entry> entries;
  for (size_t i = 0; i < lists.size(); ++i)
    entries.push_back(
        {cat("logits.", i), DType::f32, {static_cast<int64_t>(lists[i].size()), b.vocab}});
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
      writer.write(ctx.empty({0, b.vocab}, DType::f32));
      continue;
    }
    writer.write(model.decoder->logits(ctx, model.decoder->hidden(context, batch.ids).value()));
  }
  writer.commit();
  return 0;
}

}  // namespace nibble
