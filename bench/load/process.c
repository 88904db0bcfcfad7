#include "process.h"

#include "base.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static FILE *open_process(pid_t pid, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return fopen(path, "re");
}

static bool add_time(pid_t pid, usage *sum) {
    char line[1024];
    FILE *file = open_process(pid, "stat");
    char *read = file != NULL ? fgets(line, sizeof line, file) : NULL;
    if (file != NULL) {
        fclose(file);
    }
    /* The name in the second field may hold anything, also parentheses. */
    char *rest = read != NULL ? strrchr(line, ')') : NULL;
    unsigned long user = 0;
    unsigned long system = 0;
    if (rest == NULL || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                               &user, &system) != 2) {
        return false;
    }
    double ticks_per_s = (double)sysconf(_SC_CLK_TCK);
    sum->user_s += (double)user / ticks_per_s;
    sum->system_s += (double)system / ticks_per_s;
    return true;
}

/* The sum in "status" is exact; that in "stat" may lag by what each processor has gathered. */
static void add_memory(pid_t pid, usage *sum) {
    char line[256];
    FILE *file = open_process(pid, "status");
    unsigned long kib = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "VmRSS: %lu kB", &kib) == 1) {
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    sum->resident_bytes += (uint64_t)kib * 1024;
}

/* False if the process has ended: a child may, after it was listed. */
static bool add_tree(pid_t pid, usage *sum);

static void add_children(pid_t pid, const char *thread, usage *sum) {
    char path[320];
    snprintf(path, sizeof path, "/proc/%d/task/%s/children", (int)pid, thread);
    FILE *file = fopen(path, "re");
    int child = 0;
    while (file != NULL && fscanf(file, "%d", &child) == 1) {
        (void)add_tree(child, sum);
    }
    if (file != NULL) {
        fclose(file);
    }
}

static bool add_tree(pid_t pid, usage *sum) {
    char path[64];
    if (!add_time(pid, sum)) {
        return false;
    }
    add_memory(pid, sum);
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    const struct dirent *thread;
    while (threads != NULL && (thread = readdir(threads)) != NULL) {
        if (thread->d_name[0] != '.') {
            add_children(pid, thread->d_name, sum);
        }
    }
    if (threads != NULL) {
        closedir(threads);
    }
    return true;
}

usage usage_of_tree(pid_t pid) {
    usage sum = {0};
    if (!add_tree(pid, &sum)) {
        die("process %d has gone", (int)pid);
    }
    return sum;
}

static double timeval_s(struct timeval time) {
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

usage usage_of_self(void) {
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    return (usage){.user_s = timeval_s(own.ru_utime), .system_s = timeval_s(own.ru_stime)};
}

double waited_of_self_s(void) {
    unsigned long long waited_ns = 0;
    FILE *file = fopen("/proc/self/schedstat", "re");
    if (file != NULL && fscanf(file, "%*u %llu", &waited_ns) != 1) {
        waited_ns = 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return (double)waited_ns / 1e9;
}
