/* INFO's lines about scripts: sums over the workers' VMs, and the stores they share.
 * What a VM takes is what its worker published when a script last ended there. One VM runs scripts
 * and functions, so all of it stands as eval's.
 * Thread: the connection's worker. */
#include "functions.h"
#include "local_info.h"
#include "script.h"

void info_scripts(struct info *i)
{
    const struct stats_memory *m = &i->memory;
    struct hub *hub = i->w->hub;
    char human[32], scripts_human[32];
    script_store_lock(hub);
    unsigned long long count = script_store_count(hub->scripts);
    script_store_unlock(hub);
    struct library_set *set = functions_take(hub);
    unsigned long long functions = set->function_count, libraries = set->count;
    functions_drop(hub, set);
    info_human(human, m->vms);
    info_human(scripts_human, m->texts + m->functions);
    unsigned long long vm = m->vms;
    buf_printf(i->out,
               "used_memory_lua:%llu\r\nused_memory_vm_eval:%llu\r\nused_memory_lua_human:%s\r\n"
               "used_memory_scripts_eval:%llu\r\nnumber_of_cached_scripts:%llu\r\n"
               "number_of_functions:%llu\r\nnumber_of_libraries:%llu\r\n"
               "used_memory_vm_functions:0\r\n"
               "used_memory_vm_total:%llu\r\nused_memory_vm_total_human:%s\r\n"
               "used_memory_functions:%llu\r\nused_memory_scripts:%llu\r\n"
               "used_memory_scripts_human:%s\r\n",
               vm, vm, human, (unsigned long long)m->texts, count, functions, libraries, vm, human,
               (unsigned long long)m->functions, (unsigned long long)(m->texts + m->functions),
               scripts_human);
}
