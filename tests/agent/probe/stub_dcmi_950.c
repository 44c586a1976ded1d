/* A stand-in for a 950's libdcmi.so: four devices and a CPU, by logical number. DCMI_STUB chooses what goes wrong. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct chip { unsigned char type[32], name[32], version[32]; unsigned aicores; unsigned char npu_name[32]; };
struct hbm { unsigned long long size; unsigned freq; unsigned long long usage; int temp; unsigned bandwidth; };
struct pcie { unsigned v, sv, d, sd; int domain; unsigned bus, slot, function; unsigned char reserve[32]; };
struct process { int pid; unsigned long bytes; };

static int is(const char *what) { const char *set = getenv("DCMI_STUB"); return set && strcmp(set, what) == 0; }
static int ready;

int dcmi_init(void) { printf("not for this product\n"); fflush(stdout); return -8255; }
int dcmi_get_card_list(int *count, int *list, int length) { abort(); }
int dcmiv2_init(void) {
    if (is("denied")) return -8002;
    if (is("neither")) return -8255;
    ready = 1;
    return 0;
}
int dcmiv2_get_device_list(int *list, int *count, int length) {
    if (!ready || length < 5) return -8001;
    if (is("none")) { *count = 0; return 0; }
    if (is("hangs")) sleep(600);
    for (int i = 0; i < 5; i++) list[i] = 4 - i;
    *count = 5;
    return 0;
}
int dcmiv2_get_device_type(int device, int *type) { *type = device == 4 ? 2 : 0; return 0; }
int dcmiv2_get_driver_version(char *text, unsigned length) { snprintf(text, length, "26.0.rc1"); return 0; }
int dcmiv2_get_device_chip_info(int device, struct chip *c) {
    memset(c, 0, sizeof *c);
    strcpy((char *)(device == 3 ? c->npu_name : c->name), "950PR");
    return device == 2 ? -8255 : 0;
}
int dcmiv2_get_device_health(int device, unsigned *health) { *health = device == 1 ? 3 : 0; return 0; }
int dcmiv2_get_device_power_info(int device, int *power) { *power = 2044 + device; return 0; }
int dcmiv2_get_device_temperature(int device, int *temperature) { *temperature = device == 3 ? 0x7fff : 56; return 0; }
int dcmiv2_get_device_utilization_rate(int device, int type, unsigned *rate) { if (type == 2) return -8255; *rate = device == 0 ? 255 : 10 * device; return 0; }
int dcmiv2_get_device_hbm_info(int device, struct hbm *h) { memset(h, 0, sizeof *h); h->size = 86016; h->usage = 4439 + device; return 0; }
int dcmiv2_get_device_pcie_info(int device, struct pcie *p) { memset(p, 0, sizeof *p); p->bus = 0x91 + device; return device == 3 ? -8255 : 0; }
int dcmiv2_get_chip_phy_id_by_dev_id(int device, unsigned *phy) { *phy = device + 8; return 0; }
int dcmiv2_get_device_proc_mem_info(int device, struct process *list, int *count) {
    *count = 0;
    if (device == 1) { list[0].pid = getpid(); list[0].bytes = 77ul << 20; *count = 1; }
    return 0;
}
