#include <athanor/serving/detail/loaded_model.hpp>

#include <athanor/core/time.hpp>
#include <athanor/manifest/digest.hpp>
#include <athanor/serving/detail/self_test.hpp>

namespace athanor::inline v1::serving {

namespace {

/// What a member's backend is told; `names` and `dtypes` are what it borrows.
ModelSource source_of(Manifest const& manifest, MemberPlan const& member, std::string const& path,
                      std::string const& format, std::vector<char const*>& names,
                      std::vector<std::int32_t>& dtypes) {
  std::size_t const inputs = member.inputs.empty() ? manifest.model_inputs.size() : member.inputs.size();
  for (std::size_t i = 0; i < inputs; ++i) {
    TensorSpec const& input = manifest.model_inputs[member.inputs.empty() ? i : member.inputs[i]].spec;
    names.push_back(input.name.c_str());
    dtypes.push_back(static_cast<std::int32_t>(input.dtype));
  }
  for (auto const& output : manifest.model_outputs) {
    names.push_back(output.name.c_str());
    dtypes.push_back(static_cast<std::int32_t>(output.dtype));
  }
  ModelSource source{};
  source.struct_size = sizeof(ModelSource);
  source.path = path.c_str();
  source.format = format.c_str();
  source.input_names = names.data();
  source.input_dtypes = dtypes.data();
  source.input_count = inputs;
  source.output_names = names.data() + inputs;
  source.output_dtypes = dtypes.data() + inputs;
  source.output_count = manifest.model_outputs.size();
  Device const device = manifest.device.value_or(Device{});
  source.device_type = static_cast<std::int32_t>(device.type);
  source.device_index = device.index;
  source.threads_per_instance = static_cast<std::int32_t>(manifest.threads.value_or(1));
  if (manifest.sequences && manifest.sequences->held)
    source.slot_count = static_cast<std::uint64_t>(manifest.sequences->max);
  return source;
}

}  // namespace

Result<std::unique_ptr<LoadedModel>> LoadedModel::load(ModelDescription const& description,
                                                       std::size_t instances, TrialTime const& trial) {
  auto model = std::unique_ptr<LoadedModel>(new LoadedModel);
  Manifest const& manifest = description.manifest;
  for (std::size_t i = 0; i < manifest.members.size(); ++i) {
    auto const& member = manifest.members[i];
    std::string const path = description.folder + "/" + member.file.file;
    std::string const format = manifest.full_format(member);
    if (auto same = verify_digest(path, member.file.digest); !same)
      return tl::unexpected(std::move(same.error()));
    std::vector<char const*> names;
    std::vector<std::int32_t> dtypes;
    auto file = LoadedFile::load(description.backends[i], source_of(manifest, description.plan.members[i],
                                                                    path, format, names, dtypes));
    if (!file) return tl::unexpected(std::move(file.error()));
    model->bytes_ = saturating_sum(model->bytes_, file->footprint());
    model->files_.push_back(std::move(*file));
  }
  for (std::size_t i = 0; i < instances; ++i) {
    std::vector<Instance> members;
    for (auto const& file : model->files_) {
      auto instance = file.make_instance();
      if (!instance) return tl::unexpected(std::move(instance.error()));
      members.push_back(std::move(*instance));
    }
    auto state = CarriedState::allocate(description.plan);
    if (!state) return tl::unexpected(std::move(state.error()));
    model->bytes_ = saturating_sum(model->bytes_, CarriedState::bytes_of(description.plan));
    model->workers_.push_back(
        std::make_unique<Worker>(description.plan, std::move(members), std::move(*state)));
  }
  for (auto const& worker : model->workers_)
    if (auto passed = prove(description, *worker); !passed) return tl::unexpected(std::move(passed.error()));
  auto note = try_company(description, *model->workers_[0],
                          trial);  // instances share what they execute: one shows it
  if (!note) return tl::unexpected(std::move(note.error()));
  model->note_ = std::move(*note);
  return model;
}

}  // namespace athanor::inline v1::serving
