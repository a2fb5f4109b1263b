// What output files and folders share: names that say who is writing, and the ways a disk refuses.
#pragma once

#include <cstdint>
#include <string>

namespace nibble {

std::string parent_folder(const std::string& path);  // "." when the path names none

// A name beside `path` that begins with ".tmp-" and carries machine, process and a count.
std::string temporary_name(const std::string& path);

std::string system_message(int error);  // "no space left on device"
// Exit 73, or 74 when the disk is full or broken.
[[noreturn]] void throw_cannot_create(const std::string& path, int error);
// Exit 74; a full disk says how many bytes were still to be written and how many are free.
[[noreturn]] void throw_cannot_write(const std::string& path, int error, int64_t wanted = -1);

// Makes the names in a folder durable. File systems that have no such notion are left alone.
void sync_folder(const std::string& folder);

}  // namespace nibble
