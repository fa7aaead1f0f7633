#include "proxy/convert/annotated_file.h"

#include <algorithm>
#include <utility>

#include "lib/base/ascii.h"
#include "proxy/convert/stunnel_options.h"

namespace starttls::stunnel {
namespace {

/// True if neither TOML nor our own "${NAME}" would change the value.
bool is_plain(std::string_view value) {
  return std::all_of(value.begin(), value.end(), ascii::is_printable) &&
         value.find("${") == std::string_view::npos;
}

}  // namespace

bool is_yes(const Option* option) {
  return option != nullptr && ascii::iequals(option->value, "yes");
}

AnnotatedFile::AnnotatedFile(std::string_view text) : file_(parse(text)), notes_(file_.notes) {
  sort_out(file_.global);
  for (auto& section : file_.services) sort_out(section);
}

void AnnotatedFile::note(const Section& section, const Option* option, const std::string& text) {
  const auto line = option == nullptr ? section.line : option->line;
  const bool global = section.name.empty() || (option != nullptr && line < section.line);
  std::string whole = global ? "" : "[" + ascii::escape(section.name) + "] ";
  if (option != nullptr) whole += ascii::escape(option->name) + ": ";
  whole += text;
  if (noted_.emplace(line, whole).second) notes_.push_back({line, whole});
}

void AnnotatedFile::leave_out(const Section& section, const Option* option,
                              const std::string& why) {
  note(section, option, why + "; the service is left out");
  left_out_.insert(&section);
}

/// Notes the options that are unknown or lost, and drops those that could not be written.
void AnnotatedFile::sort_out(Section& section) {
  for (const auto& option : section.options) {
    const auto* const known = find_known(option.name);
    if (known == nullptr) {
      note(section, &option, "is not a known option of stunnel 5");
    } else if (known->fate == Fate::lost) {
      // An option that is switched off needs no note.
      if (!ascii::iequals(option.value, "no") && !ascii::iequals(option.value, "none")) {
        note(section, &option, std::string(known->text));
      }
    } else if (known->fate == Fate::read && option.value.empty()) {
      if (known->name != "sni") note(section, &option, "has no value");
    } else if (known->fate == Fate::read && !is_plain(option.value)) {
      note(section, &option, "has characters that must be written by hand; it is left out");
    }
  }
  std::erase_if(section.options, [](const Option& option) {
    return !is_plain(option.value) || (option.value.empty() && !ascii::iequals(option.name, "sni"));
  });
}

std::vector<const Option*> AnnotatedFile::all(const Section& section, std::string_view name) const {
  auto found = section.all(name);
  return found.empty() ? file_.global.all(name) : found;
}

const Option* AnnotatedFile::last(const Section& section, std::string_view name) const {
  const auto found = all(section, name);
  return found.empty() ? nullptr : found.back();
}

AnnotatedFile::Verified AnnotatedFile::verified(const Section& section) const {
  const auto* const level = last(section, "verify");
  const auto is = [level](std::string_view value) { return level && level->value == value; };
  return {yes(section, "verifyChain") || is("2") || is("3"),
          yes(section, "verifyPeer") || is("3") || is("4"), level};
}

std::string AnnotatedFile::demand(const Section& section) const {
  const auto [chain, peer, level] = verified(section);
  std::string text = std::string(chain ? "chain " : "") + (peer ? "peer " : "");
  for (const auto* const name : {"checkHost", "checkIP", "checkEmail", "PSKsecrets"}) {
    for (const auto* const option : all(section, name)) {
      text += std::string(name) + "=" + option->value + "\n";
    }
  }
  if (text.empty()) return text;
  for (const auto* const name : {"CAfile", "CApath"}) {
    if (const auto* const option = last(section, name)) {
      text += std::string(name) + "=" + option->value + "\n";
    }
  }
  return text;
}

std::vector<Note> AnnotatedFile::take_notes() {
  std::stable_sort(notes_.begin(), notes_.end(),
                   [](const auto& a, const auto& b) { return a.line < b.line; });
  return std::exchange(notes_, {});
}

}  // namespace starttls::stunnel
