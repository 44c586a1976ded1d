"""``hccn_tool -g -dev_info`` of a 950 with two ports and two interfaces, in the shape of its documentation."""

from __future__ import annotations

_TEXT = """\
+---------+---------+---------------------+-----------+-------------+------------+
| UDie ID | Port ID | Speed Ability(Gbps) | Port Type | Link Status | Media Type |
+---------+---------+---------------------+-----------+-------------+------------+
| 0       | 4       | 400                 | UB        | UP          | Electrical |
| 1       | 5       | 400                 | UB        | LINK        | MEDIA      |
+---------+---------+---------------------+-----------+-------------+------------+
+-----------------+----------------+-----------------------+-----------+--------+
| Interface Name  | IP Address     | Netmask               | Bond Mode | Slaves |
+-----------------+----------------+-----------------------+-----------+--------+
| end0v0          | 192.168.2.199  | 255.255.255.0         | NA        | NA     |
+-----------------+----------------+-----------------------+-----------+--------+
| ipourma0        | ADDRESS        | ffff:ffff:ffff:ffff:: | NA        | NA     |
|                 | ::10:0:dfdf:30 | ffff:ffff:ffff:ffff:: |           |        |
+-----------------+----------------+-----------------------+-----------+--------+
+-------+-----------+-----------------------------------------+
| Name  | EID Index | EID                                     |
+-------+-----------+-----------------------------------------+
| udma1 | 0         | 0000:0000:0000:0000:0010:0000:dfdf:0020 |
|       | 1         | 0000:0000:0000:0000:0010:0000:dfdf:0028 |
+-------+-----------+-----------------------------------------+
"""


def dev_info(link: str = "DOWN", media: str = "NA", address: str = "::10:0:dfdf:51") -> str:
    """The second port's link and media, and the second interface's first address, may differ."""
    return _TEXT.replace("LINK", link.ljust(4)).replace("MEDIA     ", media.ljust(10)).replace("ADDRESS       ", address.ljust(14))
