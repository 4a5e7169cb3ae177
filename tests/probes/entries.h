/* entries: the resolver functions that we stand before, by number, each called once for a name or
 * an address whose kind is told: for the probes that go through all of them. */
#ifndef ENTRIES_H
#define ENTRIES_H
#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>
#include "look.h"

/* What is asked. The names are of the tests' zone; nothing but the zone knows them. */
enum kind { FOUND, NO_DATA_THERE, NO_SUCH_NAME, KINDS };
static const char *const kind_text[] = {"found", "nodata", "nxdomain"};

static const char *const entry_text[] = {
    "getaddrinfo", "gethostbyname", "gethostbyname2", "gethostbyname_r", "gethostbyname2_r",
    "gethostbyaddr", "gethostbyaddr_r", "getnameinfo", "res_query", "res_search", "res_querydomain",
#ifdef __GLIBC__
    "res_nquery", "res_nsearch", "res_nquerydomain",
#endif
};
#define ENTRIES (int)(sizeof entry_text / sizeof *entry_text)

/* Calls entry number `entry`. 0 is success; getaddrinfo's and getnameinfo's codes are given as they
 * are, for the _r functions the code and the h_errno that they gave are in one number. */
static inline int call_entry(int entry, enum kind kind)
{
    /* IPv6 is what `api` has none of. */
    int family = kind == NO_DATA_THERE ? AF_INET6 : AF_INET, code = 0, failure = 0;
    const char *name = kind == NO_SUCH_NAME ? "absent.nowhere.svc.cluster.local." : look_name;
    static const char domain[] = "shop.svc.cluster.local";
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *list = NULL;
    struct hostent entry_room, *host = NULL;
    struct sockaddr_in address = {.sin_family = AF_INET};
    char buffer[1024];
    unsigned char message[512];
    int type = kind == NO_DATA_THERE ? T_AAAA : T_A;
    const char *full = kind == NO_SUCH_NAME ? name : "api.shop.svc.cluster.local";
    inet_pton(AF_INET, kind == FOUND ? look_address : "10.96.200.200", &address.sin_addr);
    switch (entry) {
    case 0:
        code = getaddrinfo(name, NULL, &hints, &list);
        if (code == 0) freeaddrinfo(list);
        return code;
    case 1: return gethostbyname(kind == NO_DATA_THERE ? "six" : name) ? 0 : -1;
    case 2: return gethostbyname2(name, family) ? 0 : -1;
    case 3:
        code = gethostbyname_r(kind == NO_DATA_THERE ? "six" : name, &entry_room, buffer,
                               sizeof buffer, &host, &failure);
        return code == 0 && host ? 0 : -1000 * (code + 1) - failure;
    case 4:
        code = gethostbyname2_r(name, family, &entry_room, buffer, sizeof buffer, &host, &failure);
        return code == 0 && host ? 0 : -1000 * (code + 1) - failure;
    case 5: return gethostbyaddr(&address.sin_addr, 4, AF_INET) ? 0 : -1;
    case 6:
        code = gethostbyaddr_r(&address.sin_addr, 4, AF_INET, &entry_room, buffer, sizeof buffer,
                               &host, &failure);
        return code == 0 && host ? 0 : -1000 * (code + 1) - failure;
    case 7:
        return getnameinfo((struct sockaddr *)&address, sizeof address, buffer, sizeof buffer, NULL,
                           0, NI_NAMEREQD);
    case 8: return res_query(full, C_IN, type, message, sizeof message) > 0 ? 0 : -1;
    case 9: return res_search(full, C_IN, type, message, sizeof message) > 0 ? 0 : -1;
    case 10:
        return res_querydomain(kind == NO_SUCH_NAME ? "absent.nowhere" : "api",
                               kind == NO_SUCH_NAME ? "svc.cluster.local" : domain, C_IN, type,
                               message, sizeof message) > 0 ? 0 : -1;
#ifdef __GLIBC__
    /* With a state that was made, as their callers do. */
    case 11:
        if (!(_res.options & RES_INIT)) res_init();
        return res_nquery(&_res, full, C_IN, type, message, sizeof message) > 0 ? 0 : -1;
    case 12:
        if (!(_res.options & RES_INIT)) res_init();
        return res_nsearch(&_res, full, C_IN, type, message, sizeof message) > 0 ? 0 : -1;
    case 13:
        if (!(_res.options & RES_INIT)) res_init();
        return res_nquerydomain(&_res, kind == NO_SUCH_NAME ? "absent.nowhere" : "api",
                                kind == NO_SUCH_NAME ? "svc.cluster.local" : domain, C_IN, type,
                                message, sizeof message) > 0 ? 0 : -1;
#endif
    }
    return -100;
}
#endif
