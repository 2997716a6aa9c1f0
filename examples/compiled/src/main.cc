// Reads log lines, one JSON object each, and prints how many there are of each level.
#include <iostream>
#include <string>

#include "counts.h"

const char* const VERSION = "log-counts version 1";

int main(int count, char** arguments) {
    const std::string field = count > 1 ? arguments[1] : "level";
    if (field == "--version") {
        std::cout << VERSION << '\n';
        return 0;
    }
    Counts counts;
    for (std::string line; std::getline(std::cin, line);) {
        add(counts, line, field);
    }
    std::cout << as_json(counts) << '\n';
}
