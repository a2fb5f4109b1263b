#include "trainer/metrics.h"

#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/files.h"

namespace nibble {

Metrics::Metrics(const std::string& path, int64_t keep_through_step) : path_(path) {
  std::string kept;
  if (exists(path) && keep_through_step > 0) {
    for (const std::string& line : split(read_file(path), '\n')) {
      if (trim(line).empty()) continue;
      try {
        if (parse_json(line, path).value("step", int64_t{0}) <= keep_through_step)
          kept += line + "\n";
      } catch (const UserError&) {
        break;  // the line a killed run was writing
      }
    }
  }
  write_file(path, kept);
  file_ = std::fopen(path.c_str(), "ab");
  if (file_ == nullptr)
    throw UserError(path, cat("cannot be opened: ", std::strerror(errno)), "", Exit::cannot_create);
}

Metrics::~Metrics() {
  if (file_ != nullptr) std::fclose(file_);
}

void Metrics::write(const Json& row) {
  const std::string line = dump_json(row) + "\n";
  if (std::fwrite(line.data(), 1, line.size(), file_) != line.size() || std::fflush(file_) != 0)
    throw UserError(path_, cat("cannot be written: ", std::strerror(errno)), "free some space",
                    Exit::io);
}

int64_t process_peak_bytes() {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

}  // namespace nibble
