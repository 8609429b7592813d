"""`mmesid paper`, which `make paper` calls: what the paper's datasets will need, said before anything is fetched.

Every figure is of something that was asked: sizes of an address and of the hub, free memory and disk, the time of
recorded runs and of a product on this machine. What nobody tells is said to be unknown. Where a run cannot end, the
reasons are listed and nothing is written.
"""

from mmesid.commands.paper.datasets import ADDRESS, CATEGORIES, Wanted, wanted
from mmesid.commands.paper.planning import Outlook, outlook

__all__ = ["ADDRESS", "CATEGORIES", "Outlook", "Wanted", "outlook", "wanted"]
