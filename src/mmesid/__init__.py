"""mme-sid: a multimodal LLM sequential recommender with semantic IDs, from raw catalogue to served champion.

Shape letters, used in every comment that gives a tensor's shape:

    B  users (or rows) in a batch
    T  history length, in items
    S  tokens in a row
    N  items of the catalogue; ids run from 1 to N, row 0 of every item table is padding:
       never trained, never a class, never a candidate
    M  modalities (collaborative, text, image)
    Q  levels of a semantic ID
    K  codes per level
    D  width of a modality's embedding
    d  width of a code embedding
    C  hidden width of the backbone
"""

__version__ = "0.1.0"
