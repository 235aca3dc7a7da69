/* INFO's lines about scripts: sums over the workers' VMs, and the store they share.
 * What a VM takes is what its worker published when a script last ended there.
 * Thread: the connection's worker. */
#include "functions.h"
#include "local_info.h"
#include "script.h"

void info_scripts(struct hub *hub, struct buf *out)
{
    uint64_t vms = 0;
    char human[32], scripts_human[32];
    for (worker_id id = 0; id < hub->count; id++) vms += counter_get(&hub->published[id].vm_bytes);
    script_store_lock(hub);
    unsigned long long count = script_store_count(hub->scripts);
    unsigned long long bytes = script_store_bytes(hub->scripts);
    script_store_unlock(hub);
    struct library_set *set = functions_take(hub);
    unsigned long long functions = set->function_count, libraries = set->count;
    functions_drop(hub, set);
    info_human(human, vms);
    info_human(scripts_human, bytes);
    unsigned long long vm = vms;
    buf_printf(out,
               "used_memory_lua:%llu\r\nused_memory_vm_eval:%llu\r\nused_memory_lua_human:%s\r\n"
               "used_memory_scripts_eval:%llu\r\nnumber_of_cached_scripts:%llu\r\n"
               "number_of_functions:%llu\r\nnumber_of_libraries:%llu\r\n"
               "used_memory_vm_functions:0\r\n"
               "used_memory_vm_total:%llu\r\nused_memory_vm_total_human:%s\r\n"
               "used_memory_functions:0\r\nused_memory_scripts:%llu\r\n"
               "used_memory_scripts_human:%s\r\n",
               vm, vm, human, bytes, count, functions, libraries, vm, human, bytes, scripts_human);
}
