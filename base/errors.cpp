// How a mistake looks: the place, the line of the input, a caret under the words that are meant and
// the cure beside it, never wider than a terminal of 80 columns needs.
#include "base/errors.h"

#include <algorithm>

namespace nibble {
namespace {

constexpr size_t kLineWidth = 72;  // of the input's line; the rest of 80 is its number

// The characters of a line. Control characters (a stray escape sequence) never reach the terminal.
std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0) == 0x80 && !out.empty()) {
      out.back().push_back(c);
    } else {
      out.emplace_back(1, byte == '\t' ? ' ' : (byte < 0x20 || byte == 0x7F) ? '?' : c);
    }
  }
  return out;
}

std::string location(std::string_view where, std::string_view what) {
  return where.empty() ? std::string(what) : cat(where, ": ", what);
}

std::string source_lines(const Where& where, const std::string& hint) {
  const std::vector<std::string> line = characters(where.text);
  const size_t column = where.column > 0 ? static_cast<size_t>(where.column) - 1 : 0;
  // A long line is shown around its mistake.
  size_t begin = 0;
  if (line.size() > kLineWidth && column > kLineWidth / 2) {
    begin = std::min(column - kLineWidth / 2, line.size() - kLineWidth);
  }
  const size_t end = std::min(line.size(), begin + kLineWidth);
  std::string number = cat(where.line);
  number.insert(0, number.size() < 3 ? 3 - number.size() : 0, ' ');
  std::string out = cat(number, " | ", begin > 0 ? "…" : "");
  for (size_t i = begin; i < end; ++i) out += line[i];
  if (end < line.size()) out += "…";
  const std::string margin = cat("\n", std::string(number.size(), ' '), " | ");
  if (where.column > 0) {
    const size_t shown = std::min(column, line.size());
    const size_t room = end > shown ? end - shown : 1;
    const size_t length = std::clamp<size_t>(static_cast<size_t>(std::max(where.length, 1)), 1,
                                             std::max<size_t>(room, 1));
    out += cat(margin, std::string(shown - begin + (begin > 0 ? 1 : 0), ' '),
               std::string(length, '^'));
    if (!hint.empty()) out += cat(" ", hint);
  } else if (!hint.empty()) {
    out += cat(margin, hint);
  }
  return out;
}

}  // namespace

std::string Where::str() const {
  if (file.empty()) return "";
  if (line <= 0) return file;
  return column > 0 ? cat(file, ":", line, ":", column) : cat(file, ":", line);
}

UserError::UserError(Where where, std::string what, std::string hint, Exit code)
    : where_(std::move(where)), what_(std::move(what)), hint_(std::move(hint)), code_(code) {
  full_ = location(where_.str(), what_);
  if (!hint_.empty()) full_ += cat(" (", hint_, ")");
}

UserError::UserError(std::string_view where, std::string what, std::string hint, Exit code)
    : UserError(Where{std::string(where)}, std::move(what), std::move(hint), code) {}

std::string UserError::render() const {
  std::string out = location(where_.str(), what_);
  if (where_.line > 0 && !where_.text.empty()) {
    if (where_.column > 0 || !hint_.empty()) out += cat("\n", source_lines(where_, hint_));
  } else if (!hint_.empty()) {
    out += cat("\n  ", hint_);
  }
  return out;
}

UserErrors::UserErrors(std::vector<UserError> all, Exit code) : all_(std::move(all)), code_(code) {
  for (const UserError& error : all_) {
    if (!full_.empty()) full_ += "\n";
    full_ += error.what();
  }
}

std::string UserErrors::render() const {
  std::string out;
  for (const UserError& error : all_) out += cat(error.render(), "\n");
  return out +
         cat(all_.size(), all_.size() == 1 ? " mistake" : " mistakes", ", nothing was started.");
}

void fail_check(std::string message, const char* file, int line) {
  // The folder and the file are enough to find it; where the tree was built says nothing.
  std::string_view path(file);
  size_t slash = path.rfind('/');
  if (slash != std::string_view::npos && slash > 0) slash = path.rfind('/', slash - 1);
  if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
  throw Bug(cat(message, " (", path, ":", line, ")"));
}

}  // namespace nibble
