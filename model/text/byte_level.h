// GPT-2's byte alphabet: every byte has a printable character, so that a vocabulary of text can
// hold raw bytes. Printable Latin-1 stands for itself, the rest are moved to U+0100 and up.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nibble::text {

uint32_t character_of_byte(uint8_t byte);
std::optional<uint8_t> byte_of_character(uint32_t code);

std::string to_byte_characters(std::string_view bytes);
// Nothing when the text holds a character outside the alphabet.
std::optional<std::string> from_byte_characters(std::string_view text);

}  // namespace nibble::text
