"""Work that outgrows one machine, on Ray: pictures, and cells of a sweep.

Nothing here imports Ray before a cluster is opened (:func:`edgedet.cluster.session.open_cluster`).
"""
