// A stand-in for NCCL that moves numbers between processes by files, for devices whose memory is the process's own:
// with it the emulator's ranks make the calls that ranks on GPUs make. It keeps NCCL's promises about them: nothing
// blocks, what was begun is IN_PROGRESS until it has been asked after, transfers of a group match in order and in
// length, and misuse is an error.
//
// FAKE_NCCL_FOLDER   where the files go
// FAKE_NCCL_VERSION  what version it claims to be
// FAKE_NCCL_FAULT    RANK:SEND:KIND, at that send of that rank: `die` ends its process, `fail` reports an error; at 0
//                    `stay` keeps it away from the meeting
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, SYSTEM_ERROR = 2, INVALID_ARGUMENT = 4, INVALID_USAGE = 5, REMOTE_ERROR = 6, IN_PROGRESS = 7 };
enum { MOST = 64, FLOAT32 = 7, PATH = 4096 };

typedef struct {
    char text[128];
} UniqueId;

typedef struct {
    size_t size;
    unsigned magic, version;
    int blocking;
} Config;

typedef struct {
    void* to;
    size_t bytes;
    int from;
    unsigned number;
} Receive;

typedef struct {
    int rank, size, met, sends, state, asked;
    unsigned sent[MOST], received[MOST];
    Receive pending[MOST];
    int count;
} Communicator;

static __thread int in_group;

static void path(char* to, const char* what, int a, int b, unsigned number) {
    snprintf(to, PATH, "%s/%s-%d-%d-%u", getenv("FAKE_NCCL_FOLDER"), what, a, b, number);
}

// A file is there as a whole or not at all.
static int put(const char* name, const void* bytes, size_t count) {
    char draft[PATH + 8];
    snprintf(draft, sizeof draft, "%s.draft", name);
    FILE* file = fopen(draft, "wb");
    if (!file) return SYSTEM_ERROR;
    int well = fwrite(bytes, 1, count, file) == count;
    well &= fclose(file) == 0;
    return well && rename(draft, name) == 0 ? SUCCESS : SYSTEM_ERROR;
}

// What the environment has go wrong at this send of this rank.
static const char* fault(Communicator* c) {
    int rank, send, at;
    const char* said = getenv("FAKE_NCCL_FAULT");
    if (!said || sscanf(said, "%d:%d:%n", &rank, &send, &at) < 2 || rank != c->rank || send != c->sends) return "";
    return said + at;
}

const char* ncclGetErrorString(int code) {
    static const char* const words[] = {"no error", "unhandled cuda error", "unhandled system error", "internal error", "invalid argument", "invalid usage",
                                        "remote process exited or there was a network error", "NCCL operation in progress"};
    return code >= 0 && code < 8 ? words[code] : "unknown result code";
}

int ncclGetVersion(int* version) {
    const char* said = getenv("FAKE_NCCL_VERSION");
    *version = said ? atoi(said) : 22703;
    return SUCCESS;
}

int ncclGetUniqueId(UniqueId* id) {
    memset(id, 0, sizeof *id);
    snprintf(id->text, sizeof id->text, "a stand-in's id of process %d", (int)getpid());
    return SUCCESS;
}

int ncclCommInitRankConfig(Communicator** communicator, int size, UniqueId id, int rank, Config* config) {
    if (config->magic != 0xcafebeef || config->size < sizeof(size_t) + 3 * sizeof(int) || config->version < 21400 || config->blocking) return INVALID_ARGUMENT;
    if (strncmp(id.text, "a stand-in's id", 15) != 0 || size > MOST || rank < 0 || rank >= size) return INVALID_ARGUMENT;
    Communicator* c = calloc(1, sizeof *c);
    c->rank = rank;
    c->size = size;
    char name[PATH];
    path(name, "met", rank, rank, 0);
    int state = strcmp(fault(c), "stay") == 0 ? SUCCESS : put(name, id.text, sizeof id.text);
    *communicator = c;
    return state ? state : IN_PROGRESS;
}

static int all_have_met(const Communicator* c) {
    for (int other = 0; other < c->size; other++) {
        char name[PATH];
        path(name, "met", other, other, 0);
        if (access(name, R_OK) != 0) return 0;
    }
    return 1;
}

// Takes what has come.
static int take(Communicator* c) {
    for (int i = 0; i < c->count; i++) {
        Receive* r = &c->pending[i];
        if (!r->to) continue;
        char name[PATH];
        path(name, "sent", r->from, c->rank, r->number);
        FILE* file = fopen(name, "rb");
        if (!file) continue;
        size_t found = fread(r->to, 1, r->bytes, file);
        int more = fgetc(file) != EOF;
        fclose(file);
        unlink(name);
        if (found != r->bytes || more) return INVALID_USAGE;
        r->to = NULL;
    }
    for (int i = 0; i < c->count; i++) {
        if (c->pending[i].to) return IN_PROGRESS;
    }
    c->count = 0;
    return SUCCESS;
}

int ncclCommGetAsyncError(Communicator* c, int* state) {
    if (c->state != IN_PROGRESS && c->state != SUCCESS) {
        *state = c->state;
    } else if (++c->asked % 4 != 0) {
        *state = c->met && !c->count ? SUCCESS : IN_PROGRESS;
    } else if (!c->met) {
        c->met = all_have_met(c);
        *state = c->met ? SUCCESS : IN_PROGRESS;
    } else {
        *state = c->state = take(c);
    }
    return SUCCESS;
}

int ncclCommFinalize(Communicator* c) { return c->count ? INVALID_USAGE : IN_PROGRESS; }

int ncclCommAbort(Communicator* c) {
    free(c);
    return SUCCESS;
}

int ncclGroupStart(void) {
    in_group++;
    return SUCCESS;
}

int ncclGroupEnd(void) { return in_group-- == 1 ? IN_PROGRESS : INVALID_USAGE; }

int ncclSend(const void* from, size_t count, int type, int peer, Communicator* c, void* stream) {
    if (!in_group || !c->met || stream || type != FLOAT32 || peer < 0 || peer >= c->size || !from || !count) return INVALID_USAGE;
    c->sends++;
    c->sent[peer]++;
    const char* kind = fault(c);
    if (strcmp(kind, "die") == 0) _exit(9);
    if (strcmp(kind, "fail") == 0) c->state = REMOTE_ERROR;
    char name[PATH];
    path(name, "sent", c->rank, peer, c->sent[peer]);
    return put(name, from, 4 * count);
}

int ncclRecv(void* to, size_t count, int type, int peer, Communicator* c, void* stream) {
    if (!in_group || !c->met || stream || type != FLOAT32 || peer < 0 || peer >= c->size || !to || !count) return INVALID_USAGE;
    if (c->count == MOST) return INVALID_USAGE;
    c->pending[c->count++] = (Receive){to, 4 * count, peer, ++c->received[peer]};
    return IN_PROGRESS;
}
