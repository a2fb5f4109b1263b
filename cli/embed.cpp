// nibble embed: texts to vectors. An encoder's tokens are averaged or represented by their first;
// a decoder's last token stands for its text.
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "cli/command_line.h"
#include "cli/model_flags.h"
#include "model/files/safetensors.h"
#include "model/text/tokenizer_fit.h"

namespace nibble {
namespace {

struct Options {
  ModelFlags model;
  std::string text, lines, tokens, token_types, out, pooling = "auto";
  bool normalize = false;
};

bool read_options(const std::vector<std::string>& arguments, Options& o) {
  CommandLine line("embed", "turn texts into vectors",
                   "MODEL (--text T | --lines F | --tokens ids.json) [options]");
  o.model.declare(line);
  Settings& f = line.flags();
  f.heading("Texts");
  f.field("text", o.text, "one text").placeholder("TEXT");
  f.field("lines", o.lines, "a file of texts, one a line").placeholder("FILE");
  f.field("tokens", o.tokens, "a JSON list of lists of token ids").placeholder("FILE");
  f.field("token_types", o.token_types, "with --tokens: as many lists of token types (BERT)")
      .placeholder("FILE");
  f.heading("Vectors");
  f.field("pooling", o.pooling,
          "what stands for a text: the mean of its tokens, the first, the last, the pooler's "
          "output, or every token; auto: mean for encoders, last for decoders")
      .choices({"auto", "mean", "cls", "last", "pooler", "none"});
  f.field("normalize", o.normalize, "to unit length");
  f.field("out", o.out, "tensors embedding.0, embedding.1, … instead of JSON lines")
      .placeholder("FILE");
  line.example("nibble embed bge-small/ --lines texts.txt --pooling cls --normalize");
  if (!line.parse(arguments)) return false;
  if (f.given("text") + f.given("lines") + f.given("tokens") != 1)
    throw UserError("command line", "needs one of --text, --lines and --tokens",
                    "nibble embed MODEL --text \"a text\"");
  if (f.given("token_types") && !f.given("tokens"))
    throw UserError("command line", "--token-types belongs to --tokens");
  return true;
}

std::vector<std::vector<int32_t>> texts_of(const Options& o, const Model& model) {
  const Blueprint& b = model.decoder->blueprint();
  if (!o.tokens.empty()) return read_id_lists(o.tokens, b.vocab);
  const auto tokenizer = load_fitting_tokenizer(model.tokenizer_directory, b.vocab);
  std::vector<std::vector<int32_t>> all;
  if (o.lines.empty()) {
    all.push_back(tokenizer->encode(o.text));
    return all;
  }
  const std::string text = read_file(o.lines);
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const bool carriage = end > at && text[end - 1] == '\r';
    all.push_back(tokenizer->encode(text.substr(at, end - at - carriage)));
    at = end + 1;
  }
  return all;
}

void check_length(const Options& o, const Blueprint& b, size_t i, size_t tokens) {
  const std::string where = cat(o.tokens.empty() ? o.lines : o.tokens, ": text ", i);
  if (tokens == 0) throw UserError(where, "has no tokens", "", Exit::bad_data);
  if (static_cast<int64_t>(tokens) > b.max_positions)
    throw UserError(where, cat("has ", tokens, " tokens, the model takes ", b.max_positions),
                    "split the text", Exit::bad_data);
}

void to_unit(double* x, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
  const double norm = std::sqrt(sum);
  for (int64_t i = 0; i < n && norm > 0; ++i) x[i] /= norm;
}

// (rows, hidden) in f64: one row, or with `none` every token's.
Tensor pool(Ctx& ctx, const Decoder& decoder, const std::string& pooling, const Tensor& hidden) {
  const int64_t n = hidden.rows();
  if (pooling == "none") return copy_as(ctx, hidden, DType::f64);
  if (pooling == "pooler") {
    const Tensor pooled = decoder.pooled(ctx, hidden.row_range(0, 1));
    if (!pooled.defined())
      throw UserError("--pooling", "pooler: the model has none", "use mean or cls");
    return copy_as(ctx, pooled, DType::f64);
  }
  if (pooling == "cls") return copy_as(ctx, hidden.row_range(0, 1), DType::f64);
  if (pooling == "last") return copy_as(ctx, hidden.row_range(n - 1, n), DType::f64);
  const Tensor all = copy_as(ctx, hidden, DType::f64);
  Tensor mean = Tensor::zeros(ctx.memory, {1, all.cols()}, DType::f64, Purpose::activation);
  for (int64_t r = 0; r < n; ++r)
    for (int64_t c = 0; c < all.cols(); ++c)
      mean.data<double>()[c] += all.data<double>()[r * all.cols() + c];
  for (int64_t c = 0; c < all.cols(); ++c) mean.data<double>()[c] /= static_cast<double>(n);
  return mean;
}

void print_line(const Tensor& v) {
  Json rows = Json::array();
  for (int64_t r = 0; r < v.rows(); ++r) {
    Json row = Json::array();
    for (int64_t c = 0; c < v.cols(); ++c) row.push_back(v.data<float>()[r * v.cols() + c]);
    rows.push_back(std::move(row));
  }
  std::printf("%s\n", dump_json(v.rows() == 1 ? rows[0] : rows).c_str());
}

}  // namespace

int run_embed(const std::vector<std::string>& arguments) {
  Options o;
  if (!read_options(arguments, o)) return 0;
  const Device device = o.model.device();
  const Model model = o.model.load(device, true);
  const Blueprint& b = model.decoder->blueprint();
  const std::string pooling = o.pooling != "auto" ? o.pooling : b.encoder ? "mean" : "last";
  const auto texts = texts_of(o, model);
  std::vector<std::vector<int32_t>> types(texts.size());
  if (!o.token_types.empty())
    types = read_id_lists(o.token_types, std::max<int64_t>(1, b.token_types));
  if (types.size() != texts.size())
    throw UserError(o.token_types, cat("has ", types.size(), " lists for ", texts.size(), " texts"),
                    "", Exit::bad_data);
  Ctx ctx(device, model.options.compute);
  NamedTensors vectors;
  for (size_t i = 0; i < texts.size(); ++i) {
    check_length(o, b, i, texts[i].size());
    if (!types[i].empty() && types[i].size() != texts[i].size())
      throw UserError(
          o.token_types,
          cat("list ", i, " has ", types[i].size(), " types for ", texts[i].size(), " tokens"), "",
          Exit::bad_data);
    Document document;
    document.ids = texts[i];
    document.token_types = types[i];
    PackedBatch batch = pack(device.memory(), {document});
    ForwardContext context{ctx};
    context.packed = &batch.segments;
    context.adapters = {{0, 0, batch.segments.tokens}};
    const Tensor hidden = model.decoder->hidden(context, batch.ids).value();
    Tensor v = pool(ctx, *model.decoder, pooling, hidden);
    for (int64_t r = 0; o.normalize && r < v.rows(); ++r)
      to_unit(v.data<double>() + r * v.cols(), v.cols());
    v = copy_as(ctx, v, DType::f32);
    if (o.out.empty())
      print_line(v);
    else
      vectors.emplace_back(cat("embedding.", i), v);
  }
  if (!o.out.empty()) write_safetensors(o.out, vectors);
  return 0;
}

}  // namespace nibble
