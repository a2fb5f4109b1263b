// libfyaml delivers events with marks; this file builds the tree from them with a stack of its own,
// so that nesting is bounded and every rule of ours is checked where its place is known.
#include "base/yaml.h"

#include <libfyaml.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <utility>

#include "base/files.h"
#include "base/text.h"

namespace nibble {
namespace {

constexpr size_t kMaxDepth = 64;

// The document by lines, to quote the one a mistake stands on.
class Lines {
 public:
  Lines(std::string_view text, const std::string& name) : name_(name), lines_(split(text, '\n')) {
    for (std::string& line : lines_) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
    }
  }
  // From marks that count from 0.
  Where at(int line, int column, int length = 1) const {
    Where where{name_, line + 1, column + 1, "", std::max(length, 1)};
    if (line >= 0 && static_cast<size_t>(line) < lines_.size()) {
      where.text = lines_[static_cast<size_t>(line)];
    }
    return where;
  }

 private:
  std::string name_;
  std::vector<std::string> lines_;
};

struct Free {
  void operator()(fy_diag* diag) const { fy_diag_destroy(diag); }
  void operator()(fy_parser* parser) const { fy_parser_destroy(parser); }
};

// Silence: messages are collected, and whatever is not goes nowhere.
void discard(fy_diag*, void*, const char*, size_t) {}

class Reader {
 public:
  Reader(std::string_view text, const std::string& name, std::vector<UserError>& mistakes)
      : lines_(text, name), mistakes_(mistakes) {
    fy_diag_cfg diag_config{};
    fy_diag_cfg_default(&diag_config);
    diag_config.fp = nullptr;
    diag_config.output_fn = discard;
    diag_config.colorize = false;
    diag_.reset(fy_diag_create(&diag_config));
    check(diag_ != nullptr, "libfyaml: no diagnostics");
    fy_diag_set_collect_errors(diag_.get(), true);
    fy_parse_cfg config{};
    config.flags = static_cast<fy_parse_cfg_flags>(FYPCF_QUIET | FYPCF_DEFAULT_VERSION_1_2);
    config.diag = diag_.get();
    parser_.reset(fy_parser_create(&config));
    check(parser_ != nullptr, "libfyaml: no parser");
    check_eq(fy_parser_set_string(parser_.get(), text.data(), text.size()), 0, "libfyaml: input");
  }

  YamlNode read() {
    while (fy_event* event = fy_parser_parse(parser_.get())) {
      const auto release = [this](fy_event* e) { fy_parser_event_free(parser_.get(), e); };
      const std::unique_ptr<fy_event, decltype(release)> owned(event, release);
      take(event);
    }
    if (fy_parser_get_stream_error(parser_.get())) syntax_error();
    check(frames_.empty(), "libfyaml: a collection was left open");
    return std::move(root_);
  }

 private:
  struct Frame {
    YamlNode node;
    YamlNode key;
    bool has_key = false;
  };

  void take(fy_event* event) {
    switch (event->type) {
      case FYET_DOCUMENT_START:
        if (++documents_ == 2) {
          mistakes_.emplace_back(mark(event), "a second document begins here",
                                 "keep one document in a file");
        }
        break;
      case FYET_MAPPING_START:
      case FYET_SEQUENCE_START:
        open(event);
        break;
      case FYET_MAPPING_END:
      case FYET_SEQUENCE_END:
        close();
        break;
      case FYET_SCALAR:
        add(scalar(event));
        break;
      case FYET_ALIAS: {
        mistakes_.emplace_back(mark(event), "aliases (*name) are not read", "write the value out");
        YamlNode node;
        node.where = mark(event);
        add(std::move(node));
        break;
      }
      default:
        break;
    }
  }

  Where mark(fy_event* event) const {
    const fy_mark* begin = fy_event_start_mark(event);
    const fy_mark* end = fy_event_end_mark(event);
    if (begin == nullptr) return lines_.at(-1, -1);
    const bool one_line = end != nullptr && end->line == begin->line;
    const bool collection = event->type == FYET_MAPPING_START || event->type == FYET_SEQUENCE_START;
    return lines_.at(begin->line, begin->column,
                     one_line && !collection ? end->column - begin->column : 1);
  }

  void refuse_anchor_and_tag(fy_event* event, fy_token* anchor, fy_token* tag) {
    if (anchor != nullptr) {
      mistakes_.emplace_back(mark(event), "anchors (&name) are not read", "write the value out");
    }
    if (tag != nullptr) {
      mistakes_.emplace_back(mark(event), "tags (!name) are not read",
                             "remove it; the key decides what its value means");
    }
  }

  YamlNode scalar(fy_event* event) {
    const fy_event_scalar_data& data = event->scalar;
    refuse_anchor_and_tag(event, data.anchor, data.tag);
    YamlNode node;
    size_t length = 0;
    const char* text = data.value == nullptr ? nullptr : fy_token_get_text(data.value, &length);
    if (text != nullptr) node.scalar.assign(text, length);
    node.quoted =
        data.value != nullptr && text != nullptr && fy_token_scalar_style(data.value) != FYSS_PLAIN;
    constexpr std::array<std::string_view, 5> kNull = {"", "~", "null", "Null", "NULL"};
    const bool null =
        !node.quoted && std::find(kNull.begin(), kNull.end(), node.scalar) != kNull.end();
    node.kind = null ? YamlNode::Kind::null : YamlNode::Kind::scalar;
    node.where = mark(event);
    const fy_scalar_style style =
        data.value == nullptr ? FYSS_ANY : fy_token_scalar_style(data.value);
    if (style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED) {
      --node.where.column;  // the marks lie inside the quotes
      if (node.where.length > 1 || length <= 1) node.where.length += 2;
    }
    // An empty value has no place of its own: its key stands for it.
    if (node.scalar.empty() && !node.quoted && !frames_.empty() && frames_.back().has_key) {
      node.where = frames_.back().key.where;
    }
    return node;
  }

  void open(fy_event* event) {
    const bool map = event->type == FYET_MAPPING_START;
    if (frames_.size() >= kMaxDepth) {
      throw UserErrors({UserError(mark(event), cat("nested deeper than ", kMaxDepth, " levels"))});
    }
    if (map) {
      refuse_anchor_and_tag(event, event->mapping_start.anchor, event->mapping_start.tag);
    } else {
      refuse_anchor_and_tag(event, event->sequence_start.anchor, event->sequence_start.tag);
    }
    Frame frame;
    frame.node.kind = map ? YamlNode::Kind::map : YamlNode::Kind::list;
    frame.node.where = mark(event);
    frames_.push_back(std::move(frame));
  }

  void close() {
    YamlNode node = std::move(frames_.back().node);
    frames_.pop_back();
    add(std::move(node));
  }

  void add(YamlNode node) {
    if (frames_.empty()) {
      if (documents_ <= 1) root_ = std::move(node);
      return;
    }
    Frame& frame = frames_.back();
    if (frame.node.kind == YamlNode::Kind::list) {
      frame.node.items.push_back(std::move(node));
    } else if (!frame.has_key) {
      take_key(frame, std::move(node));
    } else {
      frame.has_key = false;
      // Of a key given twice the first value stays; the mistake is noted already.
      if (frame.key.kind == YamlNode::Kind::scalar &&
          frame.node.find(frame.key.scalar) == nullptr) {
        frame.node.entries.push_back({std::move(frame.key), std::move(node)});
      }
    }
  }

  void take_key(Frame& frame, YamlNode key) {
    frame.has_key = true;
    if (key.kind == YamlNode::Kind::list || key.kind == YamlNode::Kind::map) {
      mistakes_.emplace_back(key.where, "a key must be a word", "");
      key = YamlNode{};
    } else {
      key.kind = YamlNode::Kind::scalar;  // a key named null is a word
      for (const auto& entry : frame.node.entries) {
        if (entry.first.scalar != key.scalar) continue;
        mistakes_.emplace_back(
            key.where,
            cat("'", key.scalar, "' is given twice, first on line ", entry.first.where.line),
            "keep one");
      }
    }
    frame.key = std::move(key);
  }

  [[noreturn]] void syntax_error() {
    void* previous = nullptr;
    // The first message is the mistake; later ones are what the parser made of it.
    if (const fy_diag_error* error = fy_diag_errors_iterate(diag_.get(), &previous)) {
      mistakes_.emplace_back(lines_.at(error->line - 1, error->column - 1),
                             cat("not YAML: ", error->msg != nullptr ? error->msg : "bad syntax"));
    } else {
      mistakes_.emplace_back(lines_.at(-1, -1), "not YAML");
    }
    throw UserErrors(std::move(mistakes_));
  }

  Lines lines_;
  std::vector<UserError>& mistakes_;
  std::unique_ptr<fy_diag, Free> diag_;
  std::unique_ptr<fy_parser, Free> parser_;
  std::vector<Frame> frames_;
  YamlNode root_;
  int documents_ = 0;
};

// Characters YAML has no place for would otherwise end as an unhelpful message of the parser.
void refuse_bad_bytes(std::string_view text, const std::string& name) {
  int line = 1;
  for (const std::string& row : split(text, '\n')) {
    const bool zero = row.find('\0') != std::string::npos;
    if (zero || !valid_utf8(row)) {
      throw UserErrors(
          {UserError(Where{name, line, 0, "", 1}, zero ? "holds a zero byte" : "is not UTF-8",
                     "save the file as UTF-8 text")});
    }
    ++line;
  }
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  for (const auto& entry : entries) {
    if (entry.first.scalar == key) return &entry.second;
  }
  return nullptr;
}

YamlNode parse_yaml(std::string_view text, const std::string& name,
                    std::vector<UserError>* mistakes) {
  refuse_bad_bytes(text, name);
  std::vector<UserError> own;
  YamlNode root;
  if (!trim(text).empty()) root = Reader(text, name, own).read();
  if (root.where.file.empty()) root.where = Where{name, 0, 0, "", 1};
  if (mistakes != nullptr) {
    mistakes->insert(mistakes->end(), own.begin(), own.end());
  } else if (!own.empty()) {
    throw UserErrors(std::move(own));
  }
  return root;
}

YamlNode read_yaml(const std::string& path, std::vector<UserError>* mistakes) {
  return parse_yaml(read_file(path), path, mistakes);
}

std::string yaml_scalar(std::string_view text) {
  constexpr std::string_view kIndicators = "-?:,[]{}#&*!|>'\"%@`=<";
  constexpr std::string_view kFlow = ",[]{}";
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  constexpr std::array<std::string_view, 10> kWords = {"",    "~",  "null", "true", "false",
                                                       "yes", "no", "on",   "off",  ".inf"};
  bool quote = std::find(kWords.begin(), kWords.end(), lower) != kWords.end();
  quote = quote || text.front() == ' ' || text.back() == ' ' || text.back() == ':' ||
          kIndicators.find(text.front()) != std::string_view::npos ||
          text.find_first_of(kFlow) != std::string_view::npos ||
          text.find(": ") != std::string_view::npos || text.find(" #") != std::string_view::npos;
  if (!quote) {
    // Anything another reader may take for a number or a date: it begins like one.
    const char first = text.front();
    quote = (first >= '0' && first <= '9') || first == '+' ||
            (first == '.' && text.size() > 1 && text[1] >= '0' && text[1] <= '9');
    for (const char c : text) quote = quote || static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  }
  if (!quote) return std::string(text);
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    constexpr char kDigits[] = "0123456789abcdef";
    if (c == '"' || c == '\\') {
      out += cat('\\', c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += cat("\\x", kDigits[byte >> 4], kDigits[byte & 15]);
    } else {
      out.push_back(c);
    }
  }
  return out + "\"";
}

}  // namespace nibble
