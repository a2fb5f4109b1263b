// nibble tokenize: text to token ids and back, by any tokenizer file that nibble reads.
#include <cctype>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"
#include "base/json.h"
#include "cli/command_line.h"
#include "model/text/tokenizer_offsets.h"

namespace nibble {
namespace {

using Ids = std::vector<int32_t>;
using Tokens = std::vector<TokenOffset>;

struct Options {
  std::string path, text, file, lines;
  bool no_special = false, decode = false, keep_special = false, json = false, offsets = false;
  bool has_text = false, has_file = false;
};

bool read_options(const std::vector<std::string>& arguments, Options& o) {
  CommandLine line("tokenize", "text to token ids and back",
                   "MODEL_OR_TOKENIZER_FILE (--text T | --file F | --lines F) [options]");
  line.positional("MODEL_OR_TOKENIZER_FILE", o.path,
                  "a directory, or one file: tokenizer.json, a SentencePiece .model, *.tiktoken, "
                  "vocab.json beside merges.txt, vocab.txt, *.gguf");
  Settings& f = line.flags();
  f.heading("Input");
  f.field("text", o.text, "this text").placeholder("TEXT");
  f.field("file", o.file, "a file as one text, byte for byte").placeholder("FILE");
  f.field("lines", o.lines, "a file of one text a line").placeholder("FILE");
  f.heading("What to do");
  f.field("no_special", o.no_special, "add no tokens around the text (BOS, EOS)");
  f.field("offsets", o.offsets, "also the characters of the text that each token covers");
  f.field("decode", o.decode, "the input is ids, as JSON or with blanks between; print their text");
  f.field("keep_special", o.keep_special, "with --decode: write special tokens too");
  f.heading("Output");
  f.field("json", o.json,
          "{\"ids\": [[…], …]}, with --offsets also \"offsets\": [[[begin, end], …], …], with "
          "--decode {\"texts\": […]}");
  line.example("nibble tokenize model/ --text \"Hello there\"");
  line.example("nibble tokenize tokenizer.model --lines corpus.txt --no-special --json");
  line.example("nibble tokenize model/ --decode --text \"[1, 15043]\"");
  if (!line.parse(arguments)) return false;
  o.has_text = f.given("text");
  o.has_file = f.given("file");
  if (o.has_text + o.has_file + f.given("lines") != 1) {
    throw UserError("command line", "needs one of --text, --file and --lines",
                    "nibble tokenize MODEL --text TEXT");
  }
  if (o.offsets && o.decode) {
    throw UserError("command line", "--offsets is said of text, not of ids", "drop --decode");
  }
  return true;
}

std::vector<std::string> read_texts(const Options& o) {
  if (o.has_text) return {o.text};
  if (o.has_file) return {read_file(o.file)};
  std::vector<std::string> texts = split(read_file(o.lines), '\n');
  if (!texts.empty() && texts.back().empty()) texts.pop_back();  // the last line's own end
  return texts;
}

int32_t id_of(int64_t id, const std::string& where) {
  if (id < 0 || id > INT32_MAX)
    throw UserError(where, cat(id, " is no token id"), "ids are whole numbers from 0 on",
                    Exit::bad_data);
  return static_cast<int32_t>(id);
}

// "[1, 2]", "[[1], [2]]", {"ids": …} or "1 2".
std::vector<Ids> parse_ids(const std::string& text, const std::string& where) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && (text[first] == '[' || text[first] == '{')) {
    Json value = parse_json(text, where);
    if (value.is_object() && value.contains("ids")) value = Json(value["ids"]);
    const auto bad = [&] {
      throw UserError(where, "neither a list of ids nor a list of such lists", "[1, 2, 3]",
                      Exit::bad_data);
    };
    if (!value.is_array()) bad();
    if (value.empty() || !value[0].is_array()) value = Json::array({value});
    std::vector<Ids> lists;
    for (const Json& list : value) {
      if (!list.is_array()) bad();
      Ids& ids = lists.emplace_back();
      for (const Json& id : list) {
        if (!id.is_number_integer()) bad();
        ids.push_back(id_of(id.get<int64_t>(), where));
      }
    }
    return lists;
  }
  Ids ids;
  for (const char* at = text.data(); at < text.data() + text.size();) {
    if (std::isspace(static_cast<unsigned char>(*at)) != 0) {
      ++at;
      continue;
    }
    int64_t id = -1;
    const auto [end, error] = std::from_chars(at, text.data() + text.size(), id);
    if (error != std::errc())
      throw UserError(where, "not token ids with blanks between them", "1 2 3", Exit::bad_data);
    ids.push_back(id_of(id, where));
    at = end;
  }
  return {ids};
}

void write_out(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size())
    throw UserError("standard output", "cannot be written", "", Exit::io);
}

void print_texts(const Options& o, const Tokenizer& tokenizer) {
  Json texts = Json::array();
  std::string all;
  int number = 0;
  for (const std::string& text : read_texts(o)) {
    ++number;
    const std::string where = o.has_text   ? "--text"
                              : o.has_file ? o.file
                                           : cat(o.lines, ":", number);
    for (const Ids& ids : parse_ids(text, where)) {
      const std::string decoded = tokenizer.decode(ids, !o.keep_special);
      if (o.json) {
        texts.push_back(decoded);
      } else {
        all += decoded + "\n";
      }
    }
  }
  write_out(o.json ? dump_json({{"texts", texts}}) + "\n" : all);
}

// A number beside each token's spelling, as a person checks a tokenizer.
std::string table(const Tokenizer& tokenizer, const Tokens& tokens, bool offsets) {
  const auto column = [](const std::string& value, size_t width) {
    return std::string(value.size() < width ? width - value.size() : 0, ' ') + value;
  };
  std::string out;
  for (const TokenOffset& t : tokens) {
    out += column(cat(t.id), 8) + "  ";
    if (offsets) out += column(cat(t.begin, "-", t.end), 11) + "  ";
    out += dump_json(tokenizer.token_text(t.id)) + (tokenizer.is_special(t.id) ? "  special" : "") +
           "\n";
  }
  return out;
}

Tokens encode(const Options& o, const Tokenizer& tokenizer, const std::string& text) {
  const Tokenizer::EncodeOptions options{!o.no_special, true};
  if (o.offsets) return tokenizer.encode_with_offsets(text, options);
  Tokens tokens;
  for (const int32_t id : tokenizer.encode(text, options)) tokens.push_back({id});
  return tokens;
}

// Appends "[1, 2]", each item written by `item`.
template <class Item>
void append_list(std::string& out, const Tokens& tokens, const Item& item) {
  out += "[";
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (i > 0) out += ", ";
    item(tokens[i]);
  }
  out += "]";
}

void print_ids(const Options& o, const Tokenizer& tokenizer) {
  std::string out = o.json ? "{\"ids\": [" : "", offsets;
  int64_t tokens = 0, count = 0;
  for (const std::string& text : read_texts(o)) {
    const Tokens found = encode(o, tokenizer, text);
    tokens += static_cast<int64_t>(found.size());
    if (o.json) {
      if (count > 0) out += ", ";
      append_list(out, found,
                  [&](const TokenOffset& t) { append(out, static_cast<int64_t>(t.id)); });
      if (count > 0) offsets += ", ";
      append_list(offsets, found,
                  [&](const TokenOffset& t) { offsets += cat("[", t.begin, ", ", t.end, "]"); });
    } else {
      if (count > 0) out += "\n";
      out += table(tokenizer, found, o.offsets);
    }
    ++count;
  }
  if (o.json && o.offsets) out += "], \"offsets\": [" + offsets;
  out += o.json ? "]}\n"
                : cat(human_count(tokens), tokens == 1 ? " token" : " tokens",
                      o.has_text || o.has_file ? "" : cat(" in ", human_count(count), " lines"),
                      " · vocabulary ", human_count(tokenizer.vocab_size()), "\n");
  write_out(out);
}

}  // namespace

int run_tokenize(const std::vector<std::string>& arguments) {
  Options o;
  if (!read_options(arguments, o)) return 0;
  const auto tokenizer = Tokenizer::open(o.path);
  if (o.decode) {
    print_texts(o, *tokenizer);
  } else {
    print_ids(o, *tokenizer);
  }
  return 0;
}

}  // namespace nibble
