wload inspect --tensor '*norm*' --tensor lm_head.weight sharded
