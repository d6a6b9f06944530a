// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* Memory models, which of them are accepted, and the names of values. */
#include "../sentence.h"
#include "importer.h"
#include "unit.h"

static struct pb_error err;

START_TEST(model_of_exporters)
{
	ck_assert_int_eq(pb_exporter_model("vfio_pci_core"), PB_REVOCABLE);
	ck_assert_int_eq(pb_exporter_model("peerbar_vfio_pci"), PB_REVOCABLE);
	ck_assert_int_eq(pb_exporter_model("udmabuf"), PB_PINNED);
	ck_assert_int_eq(pb_exporter_model("system"), PB_PINNED);
	/*
	 * Exporters that are not in the table are UNKNOWN: strangers, drivers that share a name,
	 * and names similar to known ones.
	 */
	ck_assert_int_eq(pb_exporter_model("drm"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model("stranger"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model("vfio_pci_core2"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model("udma"), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model(""), PB_UNKNOWN);
	ck_assert_int_eq(pb_exporter_model(NULL), PB_UNKNOWN);
}
END_TEST

START_TEST(model_names)
{
	ck_assert_str_eq(pb_model_name(PB_PINNED), "PINNED");
	ck_assert_str_eq(pb_model_name(PB_REVOCABLE), "REVOCABLE");
	ck_assert_str_eq(pb_model_name(PB_DYNAMIC), "DYNAMIC");
	ck_assert_str_eq(pb_model_name(PB_UNKNOWN), "UNKNOWN");
	ck_assert_str_eq(pb_model_name((enum pb_model)77), "UNKNOWN");
}
END_TEST

START_TEST(other_names)
{
	ck_assert_str_eq(pb_model_basis_name(PB_BASIS_NONE), "NONE");
	ck_assert_str_eq(pb_model_basis_name(PB_BASIS_NAME), "NAME");
	ck_assert_str_eq(pb_model_basis_name(PB_BASIS_DERIVED), "DERIVED");
	ck_assert_str_eq(pb_model_basis_name(PB_BASIS_DECLARED), "DECLARED");
	ck_assert_str_eq(pb_answer_name(PB_ANSWER_UNKNOWN), "UNKNOWN");
	ck_assert_str_eq(pb_answer_name(PB_ANSWER_NO), "NO");
	ck_assert_str_eq(pb_answer_name(PB_ANSWER_YES), "YES");
	ck_assert_str_eq(pb_place_name(PB_PLACE_UNKNOWN), "UNKNOWN");
	ck_assert_str_eq(pb_place_name(PB_PLACE_SYSTEM), "SYSTEM");
	ck_assert_str_eq(pb_place_name(PB_PLACE_BAR), "BAR");
	ck_assert_str_eq(pb_place_name(PB_PLACE_DEVICE), "DEVICE");
	ck_assert_str_eq(pb_place_name((enum pb_place)77), "UNKNOWN");
	ck_assert_str_eq(pb_buffer_state_name(PB_BUFFER_LIVE), "LIVE");
	ck_assert_str_eq(pb_buffer_state_name(PB_BUFFER_REVOKED), "REVOKED");
	ck_assert_str_eq(pb_buffer_state_name(PB_BUFFER_DEAD), "DEAD");
	ck_assert_str_eq(pb_buffer_state_name((enum pb_buffer_state)77), "UNKNOWN");
	ck_assert_str_eq(pb_memattr_name(PB_NC), "NC");
	ck_assert_str_eq(pb_memattr_name(PB_WC), "WC");
	ck_assert_str_eq(pb_memattr_name(PB_WB), "WB");
	/* of another group */
	ck_assert_str_eq(pb_memattr_name((enum pb_memattr)0x01000001), "OTHER");
	ck_assert_str_eq(pb_event_name(PB_EVENT_CREATED), "created");
	ck_assert_str_eq(pb_event_name(PB_EVENT_REVOKED), "revoked");
	ck_assert_str_eq(pb_event_name(PB_EVENT_RESTORED), "restored");
	ck_assert_str_eq(pb_event_name(PB_EVENT_MOVED), "moved");
	ck_assert_str_eq(pb_event_name(PB_EVENT_RELEASED), "released");
	ck_assert_str_eq(pb_event_name(PB_EVENT_LOST), "lost");
}
END_TEST

START_TEST(model_refusals)
{
	ck_assert_int_eq(pb_model_accept(PB_PINNED, false, "udmabuf", &err), 0);
	ck_assert_int_eq(pb_model_accept(PB_REVOCABLE, false, "vfio_pci_core", &err), 0);
	refused(pb_model_accept(PB_DYNAMIC, false, "mover", &err), EOPNOTSUPP, "DYNAMIC");
	/* The flag permits UNKNOWN, but not DYNAMIC. */
	refused(pb_model_accept(PB_DYNAMIC, true, "mover", &err), EOPNOTSUPP, "mover");
	refused(pb_model_accept(PB_UNKNOWN, false, "drm", &err), EOPNOTSUPP, "UNKNOWN");
	ck_assert_int_eq(pb_model_accept(PB_UNKNOWN, true, "drm", &err), 0);
}
END_TEST

/*
 * A stock kernel has no DYNAMIC exporter, so construct a buffer. The call must fail before it uses
 * the kernel: the descriptors and the context are invalid, so any use would fail differently.
 */
START_TEST(dynamic_is_refused_before_anything_else)
{
	struct pb_piece piece = { .fd = -1, .size = 0x10000 };
	struct pb_dmabuf dmabuf = {
		.fd = -1,
		.origin = pb_origin_new(""),
		.info = { .size = 0x10000, .exporter = "mover", .model = PB_DYNAMIC },
		.pieces = &piece,
		.nr_pieces = 1
	};
	struct pb_buffer buffer = { &dmabuf };
	struct pb_iommu iommu = { .fd = -1 };
	struct pb_ioas ioas = { .iommu = &iommu };
	struct pb_mapping *mapping = NULL;

	refused(pb_map_buffer(&ioas, &buffer, 0, 0, PB_MAP_READ, 0, &mapping, &err), EOPNOTSUPP,
		"DYNAMIC");
	refused(pb_map_buffer(&ioas, &buffer, 0, 0, PB_MAP_READ | PB_MAP_UNKNOWN_MODEL, 0, &mapping,
			      &err),
		EOPNOTSUPP, "DYNAMIC");
	dmabuf.info.model = PB_UNKNOWN;
	refused(pb_map_buffer(&ioas, &buffer, 0, 0, PB_MAP_READ, 0, &mapping, &err), EOPNOTSUPP,
		"PB_MAP_UNKNOWN_MODEL");
	ck_assert_ptr_null(mapping);
	pb_origin_put(dmabuf.origin);
}
END_TEST

void add_model_tests(TCase *t)
{
	tcase_add_test(t, model_of_exporters);
	tcase_add_test(t, model_names);
	tcase_add_test(t, other_names);
	tcase_add_test(t, model_refusals);
	tcase_add_test(t, dynamic_is_refused_before_anything_else);
}
