#include "eval/finetune/finetune_record.h"

namespace tec {

Value ReferenceArguments(const config::Finetune& f) {
  Value args = Value::Dict();
  args.Set("batch_size", Value::Int(f.optimizer().batch_size()));
  args.Set("epochs", Value::Int(f.schedule().epochs()));
  args.Set("accum_iter", Value::Int(f.optimizer().accum_iter()));
  args.Set("model", Value::String(f.model()));
  args.Set("input_size", Value::Int(f.encoder().image_size()));
  args.Set("drop_path", Value::Double(f.drop_path()));
  args.Set("clip_grad", f.optimizer().clip_grad() == 0 ? Value::None() : Value::Double(f.optimizer().clip_grad()));
  args.Set("weight_decay", Value::Double(f.optimizer().weight_decay()));
  args.Set("lr", f.optimizer().lr() == 0 ? Value::None() : Value::Double(f.optimizer().lr()));
  args.Set("blr", Value::Double(f.optimizer().blr()));
  args.Set("layer_decay", Value::Double(f.layer_decay()));
  args.Set("min_lr", Value::Double(f.schedule().min_lr()));
  args.Set("warmup_epochs", Value::Double(f.schedule().warmup_epochs()));
  const config::Augmentation& augmentation = f.augmentation();
  args.Set("color_jitter",
           augmentation.color_jitter() == 0 ? Value::None() : Value::Double(augmentation.color_jitter()));
  args.Set("aa", Value::String(augmentation.aa()));
  args.Set("reprob", Value::Double(augmentation.reprob()));
  args.Set("remode", Value::String(augmentation.remode()));
  args.Set("recount", Value::Int(augmentation.recount()));
  args.Set("mixup", Value::Double(augmentation.mixup()));
  args.Set("cutmix", Value::Double(augmentation.cutmix()));
  args.Set("mixup_prob", Value::Double(augmentation.mixup_prob()));
  args.Set("mixup_switch_prob", Value::Double(augmentation.mixup_switch_prob()));
  args.Set("mixup_mode", Value::String(augmentation.mixup_mode()));
  args.Set("smoothing", Value::Double(augmentation.smoothing()));
  args.Set("global_pool", Value::Bool(f.global_pool()));
  args.Set("mlp_token", Value::Bool(f.mlp_token()));
  args.Set("nb_classes", Value::Int(f.nb_classes()));
  args.Set("seed", Value::Int(f.seed()));
  return args;
}

}  // namespace tec
