#include "counts.h"

#include <nlohmann/json.hpp>

void add(Counts& counts, const std::string& line, const std::string& field) {
    const auto value = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!value.is_object() || !value.contains(field) || !value[field].is_string()) {
        ++counts.others;
        return;
    }
    ++counts.by_value[value[field].get<std::string>()];
}

std::string as_json(const Counts& counts) {
    return nlohmann::json{{"counts", counts.by_value}, {"others", counts.others}}.dump();
}
