/* nss_other: an NSS module of somebody else's. It has one address for every name that is asked for in
 * the tests, so that it shows in the answer whether it was asked in its turn. Built as
 * libnss_other.so.2. Interface: glibc's nss/nss.h. */
#include <errno.h>
#include <netdb.h>
#include <nss.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

struct tuple {
    struct tuple *next;
    char *name;
    int family;
    uint32_t address[4];
    uint32_t scope;
};

/* 192.0.2.66 */
static const unsigned char ADDRESS[4] = {192, 0, 2, 66};

/* Room for everything: what is aligned first, then the name. */
struct reply {
    struct tuple tuple;
    char *addresses[2];
    char *aliases[1];
    char octets[4];
    char name[];
};

static struct reply *place(const char *name, char *buffer, size_t length, int *error, int *h_error)
{
    size_t padding = -(uintptr_t)buffer % _Alignof(struct reply);
    size_t size = sizeof(struct reply) + strlen(name) + 1;
    struct reply *reply = (struct reply *)(buffer + padding);
    if (length < padding + size) {
        *error = ERANGE;
        *h_error = NETDB_INTERNAL;
        return NULL;
    }
    memcpy(reply->octets, ADDRESS, sizeof ADDRESS);
    strcpy(reply->name, name);
    reply->addresses[0] = reply->octets;
    reply->addresses[1] = NULL;
    reply->aliases[0] = NULL;
    return reply;
}

enum nss_status _nss_other_gethostbyname4_r(const char *name, struct tuple **first, char *buffer,
                                            size_t length, int *error, int *h_error, int32_t *ttl)
{
    struct reply *reply = place(name, buffer, length, error, h_error);
    (void)ttl;
    if (reply == NULL) return NSS_STATUS_TRYAGAIN;
    memset(&reply->tuple, 0, sizeof reply->tuple);
    reply->tuple.name = reply->name;
    reply->tuple.family = AF_INET;
    memcpy(reply->tuple.address, ADDRESS, sizeof ADDRESS);
    if (*first == NULL) *first = &reply->tuple;
    else **first = reply->tuple;
    return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_other_gethostbyname3_r(const char *name, int family, struct hostent *host,
                                            char *buffer, size_t length, int *error, int *h_error,
                                            int32_t *ttl, char **canonical)
{
    struct reply *reply = place(name, buffer, length, error, h_error);
    (void)ttl;
    if (reply == NULL) return NSS_STATUS_TRYAGAIN;
    if (family != AF_INET) {
        *error = ENOENT;
        *h_error = NO_DATA;
        return NSS_STATUS_NOTFOUND;
    }
    host->h_name = reply->name;
    host->h_aliases = reply->aliases;
    host->h_addrtype = AF_INET;
    host->h_length = sizeof ADDRESS;
    host->h_addr_list = reply->addresses;
    if (canonical != NULL) *canonical = reply->name;
    return NSS_STATUS_SUCCESS;
}

enum nss_status _nss_other_gethostbyname2_r(const char *name, int family, struct hostent *host,
                                            char *buffer, size_t length, int *error, int *h_error)
{
    return _nss_other_gethostbyname3_r(name, family, host, buffer, length, error, h_error, NULL,
                                       NULL);
}
