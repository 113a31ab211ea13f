import math

import pytest
import torch
from torch.testing import assert_close

from mnemic_core.buffers.local_attention import (
    DistanceBuckets,
    RelativeBias,
    local_distance,
    missing_keys,
    newest_slots,
)
from mnemic_core.buffers.ring_buffer import RingBuffer
from mnemic_core.testing import unchecked_annotations


def t5_bucket(distance: int, buckets: DistanceBuckets) -> int:
    """The definition, number by number."""
    half = buckets.num_buckets // 2
    if distance < half:
        return max(distance, 0)
    share = math.log(distance / half) / math.log(buckets.max_distance / half)
    return min(half + int(share * (buckets.num_buckets - half)), buckets.num_buckets - 1)


@pytest.mark.parametrize(("num_buckets", "max_distance"), [(32, 100), (7, 9), (2, 30)])
def test_buckets_follow_the_definition(num_buckets: int, max_distance: int) -> None:
    buckets = DistanceBuckets(num_buckets, max_distance)
    distance = torch.arange(-3, 200)
    expected = [t5_bucket(number, buckets) for number in distance.tolist()]
    assert RelativeBias(1, buckets).bucket(distance).tolist() == expected


def test_bias_is_the_table_entry_of_head_and_bucket() -> None:
    bias = RelativeBias(2, DistanceBuckets(4, 8))
    found = bias(torch.tensor([[[0, 1, 50]]]))
    assert_close(found, bias.table.weight[[0, 1, 3]].T[None, :, None])


def test_distance_counts_tokens_and_skips_padding() -> None:
    padding = torch.tensor([[False, True, False], [False, False, False]])
    distance = local_distance(2, 3, padding, padding.device)
    assert distance[0, 2].tolist() == [3, 2, 1, 1, 0]  # the padded key is masked, its number has no meaning
    assert distance[1, 2].tolist() == [4, 3, 2, 1, 0]
    assert torch.equal(local_distance(2, 3, None, padding.device)[0], distance[1])


def test_window_is_filled_from_its_end() -> None:
    ring = RingBuffer.empty(1, 4).append(torch.tensor([[5.0, 6.0]]))
    assert ring.items[0, newest_slots(ring, 3)[0]].tolist() == [0, 5, 6]
    assert missing_keys(ring.count, 3, 1, None).tolist() == [[True, False, False, False]]


@pytest.mark.parametrize(("num_buckets", "max_distance"), [(1, 128), (32, 16)])
def test_impossible_buckets_are_refused(num_buckets: int, max_distance: int) -> None:
    with pytest.raises(ValueError, match="num_buckets must be at least 2"):
        DistanceBuckets(num_buckets, max_distance)
    with unchecked_annotations(), pytest.raises(ValueError, match="counts_from must be one of query, window"):
        DistanceBuckets(counts_from="key")
