/* Takes the place of the C library's getaddrinfo in a process that preloads it, for the hosts under `.test`. The folder that RESOLVER
   names says how: there is one address for all, in the file `address`; while there is a file `hang`, nothing is answered; while there is
   a file `fail`, nothing is found. Each lookup adds a line to the file `log` when it begins. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int resolve(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static void path(char *into, size_t size, const char *name) {
    snprintf(into, size, "%s/%s", getenv("RESOLVER"), name);
}

static int there_is(const char *name) {
    char file[512];
    path(file, sizeof file, name);
    return access(file, F_OK) == 0;
}

static void note(const char *host) {
    char file[512], line[512];
    path(file, sizeof file, "log");
    int log = open(file, O_WRONLY | O_APPEND | O_CREAT, 0600);
    int length = snprintf(line, sizeof line, "%s\n", host);
    if (log < 0 || write(log, line, length) != length) abort();
    close(log);
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    resolve *real = (resolve *)dlsym(RTLD_NEXT, "getaddrinfo");
    size_t length = host ? strlen(host) : 0;
    if (host) note(host);
    if (length < 5 || strcmp(host + length - 5, ".test") != 0) return real(host, service, hints, found);
    while (there_is("hang")) usleep(1000);
    if (there_is("fail")) return EAI_AGAIN;
    char file[512], address[64] = "";
    path(file, sizeof file, "address");
    FILE *text = fopen(file, "r");
    if (!text || fscanf(text, "%63s", address) != 1) abort();
    fclose(text);
    return real(address, service, hints, found);
}
