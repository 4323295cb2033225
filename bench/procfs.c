/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/procfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES 512

bool procfs_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    bool is_read;

    if (!file) {
        return false;
    }
    is_read = fgets(line, (int)size, file) != NULL;
    (void)fclose(file);
    if (is_read) {
        line[strcspn(line, "\n")] = '\0';
    }
    return is_read;
}

bool procfs_number(const char *path, const char *name, uint64_t *value)
{
    FILE *file = fopen(path, "re");
    size_t name_size = strlen(name);
    char line[LINE_BYTES];
    bool is_found = false;

    if (!file) {
        return false;
    }
    while (!is_found && fgets(line, sizeof(line), file)) {
        is_found = strncmp(line, name, name_size) == 0 && line[name_size] == ':';
    }
    (void)fclose(file);
    if (is_found) {
        *value = strtoull(line + name_size + 1, NULL, 10);
    }
    return is_found;
}
