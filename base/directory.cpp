// A folder is built beside its final name. Its last file is the manifest: size and checksum of all
// others, and a checksum of itself, so that no byte of the folder can change unseen.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/fault.h"
#include "base/files.h"
#include "base/json.h"
#include "base/temporary.h"
#include "base/text.h"

namespace nibble {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kFormat = "nibble manifest 1";

std::string hash_of(std::string_view text) {
  return hash128_hex(std::as_bytes(std::span(text.data(), text.size())));
}

// Files and folders below `root`, relative and sorted: the manifest must not depend on the order
// in which the file system lists them.
struct Contents {
  std::vector<std::string> files, folders;
};

Contents contents_of(const std::string& root) {
  Contents out;
  std::error_code error;
  fs::recursive_directory_iterator it(root, error);
  while (!error && it != fs::recursive_directory_iterator()) {
    const std::string name = it->path().lexically_relative(root).string();
    (it->is_directory() ? out.folders : out.files).push_back(name);
    it.increment(error);
  }
  if (error) throw_cannot_write(root, error.value());
  std::sort(out.files.begin(), out.files.end());
  std::sort(out.folders.begin(), out.folders.end());
  return out;
}

void sync_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw_cannot_write(path, errno);
  const int result = faulty_fsync(fd);
  const int error = errno;
  ::close(fd);
  if (result != 0) throw_cannot_write(path, error);
}

int64_t size_of(const std::string& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? -1 : static_cast<int64_t>(size);
}

std::string manifest_text(const Json& files) {
  Json manifest = Json::object();
  manifest["format"] = kFormat;
  manifest["checksum"] = hash_of(dump_json(files));
  manifest["files"] = files;
  return dump_json(manifest, 2) + "\n";
}

[[noreturn]] void damaged(const std::string& path, std::string what) {
  throw UserError(path, std::move(what), "restore the folder or use another one", Exit::bad_data);
}

// The rows of a manifest that is exactly what manifest_text() would write for them.
Json checked_rows(const std::string& path) {
  const std::string text = read_file(path);
  const Json manifest = parse_json(text, path);
  const bool shaped = manifest.is_object() && manifest.contains("files") &&
                      manifest["files"].is_object() && manifest.contains("format");
  if (!shaped || manifest["format"] != kFormat) damaged(path, cat("is no ", kFormat));
  if (text != manifest_text(manifest["files"])) damaged(path, "does not match its own checksum");
  return manifest["files"];
}

}  // namespace

OutputDirectory::OutputDirectory(std::string path, bool replace)
    : path_(std::move(path)), replace_(replace) {
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  std::error_code ignored;
  if (exists(path_)) {
    if (!is_directory(path_)) throw_cannot_create(path_, ENOTDIR);
    if (!replace_ && !fs::is_empty(path_, ignored)) {
      throw UserError(path_, "exists already", "name another folder or remove this one",
                      Exit::cannot_create);
    }
  }
  make_directories(parent_folder(path_));
  temporary_ = temporary_name(path_);
  if (::mkdir(temporary_.c_str(), 0777) != 0) throw_cannot_create(path_, errno);
}

OutputDirectory::~OutputDirectory() {
  std::error_code ignored;
  if (!done_) fs::remove_all(temporary_, ignored);
}

std::string OutputDirectory::file(std::string_view name) const {
  const std::string path = join_path(temporary_, name);
  if (name.find('/') != std::string_view::npos) make_directories(parent_folder(path));
  return path;
}

void OutputDirectory::commit() {
  check(!done_, "OutputDirectory: committed twice");
  const Contents contents = contents_of(temporary_);
  Json rows = Json::object();
  for (const std::string& name : contents.files) {
    const std::string path = join_path(temporary_, name);
    sync_file(path);
    rows[name] = {{"size", size_of(path)}, {"xxh3_128", hash128_file(path)}};
  }
  for (const std::string& name : contents.folders) sync_folder(join_path(temporary_, name));
  write_file(join_path(temporary_, kManifest), manifest_text(rows));  // syncs the folder too

  std::string old;  // where the replaced folder lies now
  std::error_code ignored;
  const bool replaces = replace_ && exists(path_) && !fs::is_empty(path_, ignored);
  if (!replaces) {
    if (faulty_rename(temporary_, path_) != 0) throw_cannot_create(path_, errno);
  } else if (faulty_exchange(temporary_, path_) == 0) {
    old = temporary_;
  } else if (errno == EINVAL || errno == ENOSYS || errno == ENOTSUP) {
    // Without a swap in one step the old folder keeps a name that a person finds, until the new
    // one stands.
    old = cat(path_, ".previous");
    remove_tree(old);
    if (faulty_rename(path_, old) != 0) throw_cannot_create(path_, errno);
    if (faulty_rename(temporary_, path_) != 0) {
      const int error = errno;
      ::rename(old.c_str(), path_.c_str());
      throw_cannot_create(path_, error);
    }
  } else {
    throw_cannot_create(path_, errno);
  }
  done_ = true;
  sync_folder(parent_folder(path_));
  if (!old.empty()) remove_tree(old);
}

bool has_manifest(const std::string& path) { return exists(join_path(path, kManifest)); }

void verify_directory(const std::string& path) {
  if (!is_directory(path)) {
    throw UserError(path, "there is no such folder", "", Exit::missing_input);
  }
  if (!has_manifest(path)) damaged(path, "has no manifest.json, so it was never completed");
  const Json rows = checked_rows(join_path(path, kManifest));
  for (const auto& [name, row] : rows.items()) {
    const std::string file = join_path(path, name);
    const bool shaped = row.is_object() && row.contains("size") && row.contains("xxh3_128");
    if (!shaped || starts_with(name, "/") || name.find("..") != std::string::npos) {
      damaged(join_path(path, kManifest), cat("has a bad row for '", name, "'"));
    }
    const int64_t size = size_of(file);
    if (size < 0) damaged(file, "is missing");
    if (row["size"] != size) {
      damaged(file, cat("has ", size, " bytes, its manifest says ", row["size"].dump()));
    }
    const std::string hash = hash128_file(file);
    if (row["xxh3_128"] != hash) {
      damaged(file, cat("has checksum ", hash, ", its manifest says ", row["xxh3_128"].dump()));
    }
  }
}

void remove_tree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  if (error) {
    throw UserError(path, cat("cannot be removed: ", system_message(error.value())), "", Exit::io);
  }
}

}  // namespace nibble
