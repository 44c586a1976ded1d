/* A stand-in for libdcmi.so: two cards of two chips. DCMI_STUB chooses what goes wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct chip { unsigned char type[32], name[32], version[32]; unsigned aicores; };
struct hbm { unsigned long long size; unsigned freq; unsigned long long usage; int temp; unsigned bandwidth; };
struct pcie { unsigned v, sv, d, sd; int domain; unsigned bus, slot, function; unsigned char reserve[32]; };
struct memory { unsigned long long size, available; unsigned freq; unsigned long page_kb, pages, pages_free; unsigned rate; unsigned char reserve[60]; };
struct process { int pid; unsigned long bytes; };

static int is(const char *what) { const char *set = getenv("DCMI_STUB"); return set && strcmp(set, what) == 0; }

int dcmi_init(void) {
    printf("DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\n");
    fflush(stdout);
    if (is("denied")) return -8002;
    if (is("init-hangs")) sleep(600);
    return 0;
}
int dcmi_get_card_list(int *count, int *list, int length) {
    if (is("crashes")) abort();
    if (is("hangs")) sleep(600);
    if (is("no-cards")) { *count = 0; return 0; }
    if (length < 2) return -8001;
    *count = 2; list[0] = 0; list[1] = 4;
    return 0;
}
int dcmi_get_device_num_in_card(int card, int *count) { *count = 3; return 0; }
int dcmi_get_device_type(int card, int chip, int *type) { *type = chip == 2 ? 1 : 0; return 0; }
int dcmi_get_driver_version(char *text, unsigned length) { snprintf(text, length, "25.2.0"); return 0; }
int dcmi_get_device_chip_info(int card, int chip, struct chip *c) { memset(c, 0, sizeof *c); strcpy((char *)c->name, "910B3"); c->aicores = 20; return 0; }
int dcmi_get_device_health(int card, int chip, unsigned *health) { *health = card == 4 ? 2 : 0; return 0; }
int dcmi_get_device_power_info(int card, int chip, int *power) { if (chip == 1) return -8255; *power = 931; return 0; }
int dcmi_get_device_temperature(int card, int chip, int *temperature) { *temperature = card == 4 && chip == 1 ? 0x7ffd : 37 + chip; return 0; }
int dcmi_get_device_utilization_rate(int card, int chip, int type, unsigned *rate) { if (type == 13) return -8255; *rate = 10 * card + chip; return 0; }
int dcmi_get_device_hbm_info(int card, int chip, struct hbm *h) { memset(h, 0, sizeof *h); h->size = 65536; h->usage = 3416 + chip; h->temp = 41; return 0; }
int dcmi_get_device_memory_info_v3(int card, int chip, struct memory *m) { memset(m, 0, sizeof *m); m->size = 15171; m->available = 12000; m->pages = 15; m->pages_free = 13; return 0; }
int dcmi_get_device_pcie_info_v2(int card, int chip, struct pcie *p) { memset(p, 0, sizeof *p); p->bus = 0xC1 + card; return 0; }
int dcmi_get_device_logic_id(int *logic, int card, int chip) { *logic = card / 2 + chip; return 0; }
int dcmi_get_device_phyid_from_logicid(unsigned logic, unsigned *phy) { *phy = logic + 8; return 0; }
int dcmi_get_device_resource_info(int card, int chip, struct process *list, int *count) {
    *count = 0;
    if (card == 0 && chip == 0) { list[0].pid = getpid(); list[0].bytes = 7746ul << 20; *count = 1; }
    return 0;
}
