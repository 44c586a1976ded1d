"""A bastion and nodes with real OpenSSH servers on one Linux machine; see ``rig.Rig``. Root only."""
