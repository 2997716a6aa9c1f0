// Counts log lines by a field: no input or output here.
#pragma once

#include <map>
#include <string>

// What was counted, and how many lines were no JSON object with that field.
struct Counts {
    std::map<std::string, long> by_value;
    long others = 0;
};

// Adds a line, which should be a JSON object, by the text of its field.
void add(Counts& counts, const std::string& line, const std::string& field);

// The counts as a JSON object.
std::string as_json(const Counts& counts);
